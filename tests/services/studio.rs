//! The rooms that a service is used from, put together by hand.

use std::sync::Arc;

use aida::ledger::prices::PriceBook;
use aida::ledger::{Component, Purpose, Till};
use aida::providers::anthropic::AnthropicModel;
use aida::providers::fal::FalAccount;
use aida::providers::http::{BaseUrl, HttpClient};
use aida::providers::kie::KieAccount;
use aida::providers::openai::OpenAiEmbedder;
use aida::store::Store;
use rust_decimal::Decimal;
use secrecy::SecretString;

use crate::database::TestDatabase;
use crate::support::World;

/// A world, a database and a till between them.
pub(crate) struct Studio {
    pub(crate) world: Arc<World>,
    pub(crate) store: Store,
    pub(crate) till: Till,
    pub(crate) client: HttpClient,
    // Dropped last: the store's sessions are closed by then.
    _database: TestDatabase,
}

impl Studio {
    pub(crate) async fn open() -> Self {
        let database = TestDatabase::fresh().await;
        let store = database.open().await;
        let prices = Arc::new(PriceBook::shipped());
        let answers = database.data_dir().join("answers");
        let world = Arc::new(World::start(1_000.0));
        let till = Till::new(store.clone(), prices, world.clock(), 10, answers);
        Self { world, store, till, client: HttpClient::new().unwrap(), _database: database }
    }

    fn base(&self, name: &str) -> BaseUrl {
        self.world.variable(name).parse().unwrap()
    }

    fn key(&self, name: &str) -> SecretString {
        self.world.variable(name).into()
    }

    pub(crate) fn claude(&self) -> AnthropicModel {
        let (base, key) = (self.base("ANTHROPIC_BASE_URL"), self.key("ANTHROPIC_API_KEY"));
        AnthropicModel::new(self.client.clone(), base, key)
    }

    pub(crate) fn embedder(&self) -> OpenAiEmbedder {
        let (base, key) = (self.base("OPENAI_BASE_URL"), self.key("OPENAI_API_KEY"));
        OpenAiEmbedder::new(self.client.clone(), base, Some(key), "text-embedding-3-small")
    }

    pub(crate) fn kie(&self) -> KieAccount {
        KieAccount::new(self.client.clone(), self.base("KIE_BASE_URL"), self.key("KIE_API_KEY"))
    }

    pub(crate) fn fal(&self) -> FalAccount {
        FalAccount::new(
            self.client.clone(),
            self.base("FAL_QUEUE_URL"),
            self.base("FAL_API_URL"),
            self.base("FAL_STORAGE_URL"),
            self.key("FAL_KEY"),
        )
    }

    /// What aida's books say was spent, in USD: settled, and the ceilings of the unknown.
    pub(crate) async fn books(&self) -> (Decimal, Decimal) {
        let mut session = self.store.session().await.unwrap();
        let sums = sqlx::query_as(
            "SELECT coalesce(sum(settled_usd), 0),
                    coalesce(sum(reserved_usd) FILTER (WHERE state = 'unknown'), 0) FROM charges",
        )
        .fetch_one(&mut *session)
        .await
        .unwrap();
        session.close().await;
        sums
    }
}

/// A purpose outside any project.
pub(crate) fn purpose(component: Component) -> Purpose {
    Purpose {
        user_id: "ada".to_owned(),
        project: None,
        run: None,
        shot: None,
        component,
        owner: None,
    }
}
