export default {
  test_card: "Test card",
  confirm_title: "Confirm the payment",
  confirm_bank: "Here your bank would ask whether it is you who pays. No money moves: this is the test card.",
  confirm_yes: "Yes, pay",
  confirm_no: "No, do not pay",
  confirm_paid: "Paid. You can close this page.",
  confirm_unpaid: "Not paid. You can close this page.",
  confirm_over: "This payment is over: it was decided, or its time has passed.",
};
