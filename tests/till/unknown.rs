//! What became of a call whose answer was lost.

use super::*;

#[tokio::test]
async fn what_a_dead_process_was_sending_becomes_unknown_once() {
    let shop = Shop::open().await;
    let image = shop.planned_image().await;
    let cancel = CancellationToken::new();
    let payload = json!({"prompt": "soup"});
    // The process dies between sending and hearing back: its future is dropped.
    let sending = shop.till.submit(&image, parcel(&payload), &cancel, |_| std::future::pending());
    assert!(tokio::time::timeout(Duration::from_secs(2), sending).await.is_err());
    assert_eq!(shop.load(&image).await.state, OperationState::Submitting);
    assert_eq!(shop.till.close_interrupted(shop.run).await.unwrap().len(), 1);
    assert_eq!(shop.till.close_interrupted(shop.run).await.unwrap().len(), 0);
    assert_eq!(shop.load(&image).await.state, OperationState::Unknown);
    assert_eq!(shop.spent().await, (dec!(0), dec!(0.04)));
}

#[tokio::test]
async fn an_answer_that_comes_after_it_was_given_up_for_lost_is_kept() {
    let shop = Shop::open().await;
    let image = shop.planned_image().await;
    let (payload, cancel) = (json!({"prompt": "soup"}), CancellationToken::new());
    let submission = shop
        .till
        .submit(&image, parcel(&payload), &cancel, |_| async {
            // Another process has taken the run over and counts what was being sent as unknown.
            assert_eq!(shop.till.close_interrupted(shop.run).await.unwrap().len(), 1);
            assert_eq!(shop.spent().await, (dec!(0), dec!(0.04)));
            Ok(job())
        })
        .await
        .unwrap();
    assert!(matches!(submission, Submission::Accepted(_)));
    let row = shop.load(&image).await;
    assert_eq!((row.state, row.request_id.as_deref()), (OperationState::Submitted, Some("task_1")));
    // Its ceiling stays booked until it is known what it cost, and is counted once.
    shop.cap(Scope::Run, dec!(0.08)).await;
    let (second, third) = (shop.planned_image().await, shop.planned_image().await);
    let accept = |_| async { Ok(job()) };
    let sent = shop.till.submit(&second, parcel(&payload), &cancel, accept).await;
    assert!(sent.is_ok(), "{sent:?}");
    let refused = shop.till.submit(&third, parcel(&payload), &cancel, accept).await;
    assert!(matches!(refused, Err(TillError::OverBudget { .. })), "{refused:?}");
    let failed = failure(FailureClass::Generation, MoneyState::NotCharged);
    shop.till.fail(&row, OperationState::Submitted, &failed).await.unwrap();
    assert_eq!(shop.spent().await, (dec!(0), dec!(0)));
}

#[tokio::test]
async fn an_answer_that_the_database_did_not_take_is_found_by_the_next_process() {
    let shop = Shop::open().await;
    let image = shop.planned_image().await;
    let (payload, cancel) = (json!({"prompt": "soup"}), CancellationToken::new());
    // The process dies after the answer was kept and before the database had it.
    let sending = shop.till.submit(&image, parcel(&payload), &cancel, |_| std::future::pending());
    assert!(tokio::time::timeout(Duration::from_secs(1), sending).await.is_err());
    let folder = shop.database.data_dir().join("answers");
    std::fs::create_dir_all(&folder).unwrap();
    let answer = folder.join(format!("{}.json", image.id));
    std::fs::write(&answer, serde_json::to_vec(&job()).unwrap()).unwrap();
    assert_eq!(shop.till.close_interrupted(shop.run).await.unwrap().len(), 0);
    let row = shop.load(&image).await;
    assert_eq!((row.state, row.request_id.as_deref()), (OperationState::Submitted, Some("task_1")));
    assert!(!answer.exists());
    assert_eq!(shop.spent().await, (dec!(0), dec!(0)));
}

/// KIE's account as it stands while another picture is bought: each question finds it 8 credits poorer.
struct BuyingMeanwhile<'a> {
    shop: &'a Shop,
    buys: bool,
}

#[async_trait]
impl ImageModel for BuyingMeanwhile<'_> {
    fn provider(&self) -> Provider {
        Provider::Kie
    }

    fn model(&self) -> &'static str {
        "midjourney-7-fast"
    }

    fn endpoint(&self) -> &'static str {
        "mj/generate"
    }

    fn check(&self, _: &ImageRequest) -> Result<(), ProviderError> {
        Ok(())
    }

    fn most_references(&self) -> usize {
        0
    }

    async fn upload(&self, _: &ReferencePicture) -> Result<String, ProviderError> {
        Ok(String::new())
    }

    fn payload(&self, _: &ImageRequest) -> serde_json::Value {
        json!({})
    }

    async fn submit(&self, _: Reservation, _: &serde_json::Value) -> Result<Job, ProviderError> {
        Ok(job())
    }

    async fn state(&self, _: &Job) -> Result<JobState, ProviderError> {
        Ok(JobState::Running { percent: None })
    }

    async fn fresh_url(&self, url: &str) -> Result<String, ProviderError> {
        Ok(url.to_owned())
    }

    async fn balance(&self) -> Result<Option<Decimal>, ProviderError> {
        if self.buys {
            let (image, payload) = (self.shop.planned_image().await, json!({"prompt": "bread"}));
            let cancel = CancellationToken::new();
            let sent =
                self.shop.till.submit(&image, parcel(&payload), &cancel, |_| async { Ok(job()) });
            assert!(sent.await.is_ok());
        }
        Ok(Some(dec!(992)))
    }

    fn balance_unit(&self) -> Usd {
        Usd::new(dec!(0.005))
    }

    async fn probe(&self) -> Result<Probe, ProviderError> {
        Ok(Probe { note: String::new(), balance: None })
    }
}

#[tokio::test]
async fn a_balance_that_another_picture_changed_meanwhile_proves_nothing() {
    for buys in [false, true] {
        let shop = Shop::open().await;
        let image = shop.planned_image().await;
        let (payload, cancel) = (json!({"prompt": "soup"}), CancellationToken::new());
        let before = Parcel { balance_before: Some(dec!(1_000)), ..parcel(&payload) };
        let lose = |_| async { Err(failure(FailureClass::Network, MoneyState::Unknown)) };
        shop.till.submit(&image, before, &cancel, lose).await.unwrap();
        let row = shop.load(&image).await;
        let model = BuyingMeanwhile { shop: &shop, buys };
        let verdict = shop.till.look_up(&row, Seller::Image(&model)).await.unwrap();
        let is_proven = matches!(verdict, Verdict::Charged(_));
        let is_open = matches!(verdict, Verdict::Undecided(_));
        assert_eq!((is_proven, is_open), (!buys, buys), "{verdict:?}");
    }
}
