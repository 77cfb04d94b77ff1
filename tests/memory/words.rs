//! Words: misspelt, inflected, of every script, and gone when they are forgotten.

use super::*;

#[tokio::test]
async fn words_are_found_misspelt_inflected_and_in_every_script() {
    let database = Database::new().await;
    for (title, brief) in [
        ("Ecke", "Zwei Kinder sitzen in der Holzkiste und essen Käsebrötchen"),
        ("Marché", "Les fromagers et leurs meules dorées à la lumière"),
        ("Baile", "Zapatos rojos golpean el suelo de madera"),
        ("Трамвай", "Первые трамваи на рассвете, ЁЛКА и ОГНИ"),
        ("茶室", "京都の小さな茶室で抹茶を点てる"),
        ("Sale", "Cappuccino for HR-1042, see wet/dry.aida.example"),
    ] {
        let project = database.project("ada", title, brief, &[]).await;
        database.memory().remember(&purpose("ada"), project).await.unwrap();
    }
    // The words alone, so that no vector can hide what they lack.
    database.run("UPDATE project_embeddings SET model = NULL, embedding = NULL").await;
    let memory = database.memory();
    for (query, title) in [
        ("KINDERN", "Ecke"),
        ("kasebrotchen", "Ecke"),
        ("Holz", "Ecke"),
        ("kiste", "Ecke"),
        ("Holzkisten", "Ecke"),
        ("fromager", "Marché"),
        ("lumiere", "Marché"),
        ("lumières", "Marché"),
        ("zapato rojo", "Baile"),
        ("трамваями", "Трамвай"),
        ("елка", "Трамвай"),
        ("огнями", "Трамвай"),
        ("抹茶", "茶室"),
        ("茶室", "茶室"),
        ("cappucino", "Sale"),
        ("capuccino", "Sale"),
        ("hr 1042", "Sale"),
        ("HR-1042", "Sale"),
        ("dry", "Sale"),
    ] {
        let found = titles(&memory, query).await;
        assert_eq!(found.first().map(String::as_str), Some(title), "{query}: {found:?}");
    }
    assert!(titles(&memory, "茶夜").await.is_empty());
    let report =
        memory.search(&purpose("ada"), "cappucino", &SearchFilter::default()).await.unwrap();
    assert_eq!(
        (report.read_as[0].word.as_str(), &*report.read_as[0].read_as[0]),
        ("cappucino", "cappuccino")
    );
    let hit = &report.hits[0];
    let marked: String =
        hit.snippet.chars().skip(hit.marks[0].0).take(hit.marks[0].1 - hit.marks[0].0).collect();
    assert_eq!(marked, "Cappuccino");

    for (query, count) in [
        ("\"HR-1042\"", 1),
        ("\"kasebrotchen\"", 1),
        ("\"Kind\"", 0),
        ("\"抹茶を\"", 1),
        ("cappuccino -\"hr 1042\"", 0),
    ] {
        assert_eq!(titles(&memory, query).await.len(), count, "{query}");
    }
}

#[tokio::test]
async fn what_is_forgotten_is_not_kept_as_a_word() {
    let database = Database::new().await;
    let [bread, ..] = database.with_films().await;
    let words = "SELECT count(*) FROM passage_words WHERE word = 'razor'";
    assert_eq!(database.number(words).await, 1);
    database.run("UPDATE shots SET image_prompt = 'A cat sleeps' WHERE number = 2").await;
    database.memory().remember(&purpose("ada"), bread).await.unwrap();
    assert_eq!(database.number(words).await, 0);
    assert_eq!(database.number("SELECT count(*) FROM passage_words WHERE word = 'dough'").await, 1);
    database.run("DELETE FROM project_embeddings").await;
    assert_eq!(database.number("SELECT count(*) FROM passage_words").await, 0);
}

/// Moving to another embedder touches every passage and no word.
#[tokio::test]
async fn a_change_of_vectors_alone_does_nothing_about_words() {
    let database = Database::new().await;
    database.with_films().await;
    let words = "SELECT count(*) FROM passage_words";
    assert!(database.number(words).await > 0);
    // Whatever is learnt or forgotten now shows.
    database.run("DELETE FROM passage_words WHERE word <> 'razor'").await;
    database.run("UPDATE project_embeddings SET model = NULL, embedding = NULL").await;
    assert_eq!(database.number(words).await, 1);
    database.run("UPDATE project_embeddings SET content = content || ' at dawn'").await;
    assert!(database.number(words).await > 1);
    database.run("UPDATE project_embeddings SET content = 'nothing'").await;
    assert_eq!(database.number(words).await, 1, "one word is left");
}

#[tokio::test]
async fn marks_that_make_no_word_find_nothing_and_break_nothing() {
    let database = Database::new().await;
    database.with_films().await;
    let term = |place, text: &str| Term { place, text: text.to_owned(), quality: 1.0 };
    let scope = Scope { user_id: "ada".to_owned(), ..Scope::default() };
    let mut session = database.store.session().await.unwrap();
    for marks in ["\u{301}", "\u{2d8}", "\u{300}\u{301}", ""] {
        let alone = [term(0, marks)];
        let found = embeddings::by_any_term(&mut session, &scope, &alone, 10).await.unwrap();
        assert!(found.is_empty(), "{marks:?}");
        let beside = [term(0, marks), term(1, "razor")];
        let found = embeddings::by_any_term(&mut session, &scope, &beside, 10).await.unwrap();
        assert_eq!(found.len(), 1, "{marks:?}");
    }
    session.close().await;
}
