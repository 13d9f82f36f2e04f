//! What every network must do, whatever its chain: each row of the REST contract's status table, and
//! the ways in which payments go wrong. The same assertions run on the simulated chains and on real
//! nodes; `conformance!` makes the tests, and `table` notes which cases held where.

pub mod cases;
pub mod table;
pub mod world;

/// Makes one test per case; `$world` is an async expression that gives a [`world::World`].
#[macro_export]
macro_rules! conformance {
    ($world:expr; $($case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let mut world = $world.await;
                $crate::conformance::cases::$case(&mut world).await;
                world.finish().await;
                $crate::conformance::table::passed(module_path!(), stringify!($case));
            }
        )*
    };
}

/// Every case. A case that a chain cannot play is left out by name where its tests are made.
#[macro_export]
macro_rules! every_case {
    ($world:expr) => {
        $crate::conformance! { $world;
            nothing_seen_expires,
            exact_payment_confirms,
            two_parts_confirm,
            a_part_expires_underpaid,
            more_than_asked_is_overpaid,
            late_payment_is_credited_and_stays_expired,
            canceled_invoice_still_credits,
            canceling_after_a_payment_is_refused,
            one_transaction_pays_two_invoices_and_one_twice,
            replaced_before_a_block_goes_back,
            eviction_changes_nothing,
            reorganised_payment_confirms_again,
            double_spend_of_a_confirmed_payment_takes_the_credit_back,
            restart_in_between_loses_nothing,
            payment_while_down_is_found,
        }
    };
}
