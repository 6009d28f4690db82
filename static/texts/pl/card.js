export default {
  test_card: "Karta testowa",
  confirm_title: "Potwierdzenie płatności",
  confirm_bank: "Tutaj bank poprosiłby o potwierdzenie tożsamości. Pieniądze nie są pobierane: to karta testowa.",
  confirm_yes: "Tak, płacę",
  confirm_no: "Nie, nie płacę",
  confirm_paid: "Zapłacono. Tę stronę można zamknąć.",
  confirm_unpaid: "Nie zapłacono. Tę stronę można zamknąć.",
  confirm_over: "Ta płatność jest zamknięta: decyzja już zapadła albo minął czas.",
};
