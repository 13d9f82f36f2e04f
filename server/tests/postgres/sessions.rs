//! Sessions of PostgreSQL whose process is gone, or stands still, in the middle of a unit of work. Not here:
//! processes that die, whose sessions end with them (`crash`).

use cryptopayment::domain::asset::Network;
use cryptopayment::store::{Db, cursor};
use cryptopayment_sdk::v1::{InvoiceException, InvoiceStatus};

use crate::ENGINE;
use crate::conformance::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stands_still_holds_its_locks_for_seconds() {
    let world = World::sandbox(ENGINE, Network::Ltc).await;
    let frozen = Db::open(&world.server.database_url, 1).await.unwrap();
    let unit = frozen.begin("scan").await.unwrap();
    assert!(cursor::take_over(&unit, Network::Ltc, i64::MAX).await.unwrap());
    // Nothing is said on its session any more, and nobody closes it.
    let invoice = world.invoice().await;
    world.pay(&invoice, 1, 1).await;
    world.wait(&invoice, InvoiceStatus::Confirming, InvoiceException::None).await;
    unit.commit().await.unwrap_err();
    world.finish().await;
}
