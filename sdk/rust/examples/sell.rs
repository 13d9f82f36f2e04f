//! Creates an invoice, follows it until it is final, and reads the log of events. On a sandbox it plays
//! the payer as well. Reads CRYPTOPAYMENT_URL, CRYPTOPAYMENT_API_KEY and CRYPTOPAYMENT_API_SECRET.

use cryptopayment_sdk::sandbox_v1::PayInvoiceRequest;
use cryptopayment_sdk::{Client, CreateInvoice, Error, From};
use futures_util::StreamExt as _;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let client = Client::from_env()?;

    // Keep the request id with your order: the same call again returns the same invoice.
    let wanted =
        CreateInvoice::new("ltc", "50.00").order_id("ORD-RUST-1").request_id("rust-order-1");
    let created = client.create_invoice(wanted).await?;
    let invoice = created.invoice.unwrap_or_default();
    println!("pay {} {} to {}", invoice.amount_crypto, invoice.coin, invoice.address);

    // The payer and the miners: a sandbox alone has these.
    let payment =
        PayInvoiceRequest { invoice_id: invoice.id.clone(), blocks: 6, ..Default::default() };
    client.sandbox().pay(payment).await?;

    // Each change until nothing can change any more. A lost connection is made again by itself.
    let mut changes = std::pin::pin!(client.watch_invoice(&invoice.id));
    while let Some(change) = changes.next().await {
        let invoice = change?;
        if invoice.is_final {
            println!(
                "{} with {} {}",
                invoice.status().as_str_name(),
                invoice.paid_amount,
                invoice.coin
            );
        }
    }

    // The log, from its start. Keep the sequence of the last event that you have dealt with.
    let mut events = std::pin::pin!(client.stream_events(From::Earliest));
    while let Some(event) = events.next().await {
        let event = event?;
        println!("event {}: {}", event.sequence, event.r#type);
        if event.r#type == "payment.confirmed" {
            break;
        }
    }

    // What is refused says why, in a form for programs.
    match client.create_invoice(CreateInvoice::new("doge", "50.00")).await {
        Err(error) => println!("refused: {}", error.reason().unwrap_or("-")),
        Ok(_) => println!("doge is new here"),
    }
    Ok(())
}
