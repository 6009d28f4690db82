export default {
  test_card: "Tarjeta de prueba",
  confirm_title: "Confirme el pago",
  confirm_bank: "Aquí su banco le preguntaría si es usted quien paga. No se mueve dinero: es la tarjeta de prueba.",
  confirm_yes: "Sí, pagar",
  confirm_no: "No, no pagar",
  confirm_paid: "Pagado. Puede cerrar esta página.",
  confirm_unpaid: "No pagado. Puede cerrar esta página.",
  confirm_over: "Este pago está cerrado: ya se ha decidido o su plazo ha pasado.",
};
