//! A clock that jumps, and prices that change, between a send and its result.

use super::*;

/// A clock that is set by hand.
#[derive(Debug)]
struct Jumping(Mutex<Timestamp>);

impl Jumping {
    fn to(&self, time: &str) {
        *self.0.lock().unwrap() = time.parse().unwrap();
    }
}

impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

#[tokio::test]
async fn a_clock_that_jumps_pays_nothing_twice_and_passes_no_cap() {
    let clock = Arc::new(Jumping(Mutex::new("2026-11-30T23:30:00Z".parse().unwrap())));
    let shop = Shop::open_with(clock.clone()).await;
    let (payload, cancel) = (json!({"prompt": "soup"}), CancellationToken::new());
    shop.cap_of((Scope::Everything, ""), Period::Day, dec!(0.05)).await;
    let (first, second) = (shop.planned_image().await, shop.planned_image().await);
    let result = JobResult { urls: Vec::new(), billed_units: None };
    let submit = async |image: &Operation| {
        shop.till.submit(image, parcel(&payload), &cancel, |_| async { Ok(job()) }).await
    };
    submit(&first).await.unwrap();
    // A day ahead: the job goes on as it is.
    clock.to("2026-12-01T23:30:00Z");
    assert!(submit(&first).await.is_err(), "it was sent already");
    shop.till.ready(first.id, &result).await.unwrap();
    // A month back: the same.
    clock.to("2026-10-30T12:00:00Z");
    assert!(submit(&first).await.is_err(), "it was sent already");
    let row = shop.load(&first).await;
    shop.till.keep(&row, &result, &[]).await.unwrap();
    assert_eq!(shop.spent().await, (dec!(0.04), dec!(0)));
    // What was spent "later" than the clock says counts all the same.
    clock.to("2026-10-29T12:00:00Z");
    assert!(matches!(submit(&second).await, Err(TillError::OverBudget { .. })));
    // On a later day there is room again.
    clock.to("2026-11-02T12:00:00Z");
    submit(&second).await.unwrap();
}

#[tokio::test]
async fn a_call_outside_any_run_is_booked_at_its_ceiling_when_its_process_has_died() {
    let shop = Shop::open().await;
    let purpose = Purpose { project: None, run: None, ..shop.purpose(Component::Writer) };
    let slow = Scripted { slow: Duration::from_mins(1), ..Scripted::answering(TOKENS) };
    let (request, cancel) = (bare_request(), CancellationToken::new());
    let asking = shop.till.language(&purpose, &slow, &request, &cancel);
    assert!(tokio::time::timeout(Duration::from_secs(1), asking).await.is_err());
    // Its process lives as far as anybody knows: its reservation stays.
    assert_eq!(shop.till.close_abandoned(|_| false).await.unwrap(), 0);
    assert_eq!(shop.till.close_abandoned(|_| true).await.unwrap(), 1);
    assert_eq!(shop.till.close_abandoned(|_| true).await.unwrap(), 0);
    let mut session = shop.store.session().await.unwrap();
    let ceiling: Decimal =
        sqlx::query_scalar("SELECT sum(reserved_usd) FROM charges WHERE state = 'unknown'")
            .fetch_one(&mut *session)
            .await
            .unwrap();
    session.close().await;
    assert_eq!(ceiling.normalize(), dec!(0.185));
}

#[tokio::test]
async fn a_price_that_left_the_book_is_still_the_one_that_is_charged() {
    let shop = Shop::open().await;
    let shipped = PriceBook::shipped();
    let day = jiff::civil::date(2026, 11, 22);
    let own = Price {
        rates: Rates::Image(dec!(0.03)),
        origin: Origin::Config,
        ..shipped.find("kie", "midjourney-7-fast", day).unwrap().clone()
    };
    let own_id = own.id();
    let till = |book: PriceBook| {
        let answers = shop.database.data_dir().join("answers");
        Till::new(shop.store.clone(), Arc::new(book), shop.clock.clone(), 40, answers)
    };
    let with_own = Shop { till: till(shipped.clone().with([own])), ..shop };
    let image = with_own.planned_image().await;
    assert_eq!((image.price_id.as_str(), image.estimated_usd), (&*own_id, Usd::new(dec!(0.03))));
    let (payload, cancel) = (json!({"prompt": "soup"}), CancellationToken::new());
    let submit = with_own.till.submit(&image, parcel(&payload), &cancel, |_| async { Ok(job()) });
    submit.await.unwrap();

    // The entry is gone from config.toml when the picture is there.
    let answers = with_own.database.data_dir().join("answers");
    let (store, clock) = (with_own.store.clone(), with_own.clock.clone());
    let without = Till::new(store, Arc::new(shipped), clock, 40, answers);
    let result = JobResult { urls: Vec::new(), billed_units: None };
    without.ready(image.id, &result).await.unwrap();
    without.keep(&with_own.load(&image).await, &result, &[]).await.unwrap();
    assert_eq!(with_own.spent().await, (dec!(0.03), dec!(0)));

    // What was planned with it and not sent is planned anew instead.
    let late = with_own.planned_image().await;
    assert!(with_own.till.is_priced_as_today(&late) && !without.is_priced_as_today(&late));
    let refused = without.submit(&late, parcel(&payload), &cancel, |_| async { Ok(job()) }).await;
    assert!(refused.is_ok(), "its price stands in the books: {refused:?}");
}
