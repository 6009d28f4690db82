export default {
  test_card: "Testkarte",
  confirm_title: "Zahlung bestätigen",
  confirm_bank: "Hier würde Ihre Bank fragen, ob wirklich Sie zahlen. Es fließt kein Geld: Das ist die Testkarte.",
  confirm_yes: "Ja, zahlen",
  confirm_no: "Nein, nicht zahlen",
  confirm_paid: "Bezahlt. Sie können diese Seite schließen.",
  confirm_unpaid: "Nicht bezahlt. Sie können diese Seite schließen.",
  confirm_over: "Diese Zahlung ist abgeschlossen: Sie wurde entschieden oder ihre Zeit ist abgelaufen.",
};
