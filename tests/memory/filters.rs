//! What a search leaves out, and what it never loses by that.

use super::*;

#[tokio::test]
async fn every_filter_keeps_its_promise_and_says_what_it_left_out() {
    let database = Database::new().await;
    let [bread, shoes, city] = database.with_films().await;
    let memory = database.memory();
    database
        .run(&format!(
            "UPDATE projects SET created_at = '2026-11-01T00:00:00Z' WHERE id = '{bread}';
             UPDATE projects SET created_at = '2026-11-20T00:00:00Z', aspect = '16:9' WHERE id = '{shoes}';
             UPDATE projects SET created_at = '2026-11-21T00:00:00Z' WHERE id = '{city}';
             INSERT INTO project_feedback (id, project_id, shot_id, user_id, rating, created_at)
             SELECT gen_random_uuid(), '{bread}', shots.id, 'ada', 2, now()
             FROM shots WHERE project_id = '{bread}' AND number = 2;
             INSERT INTO project_feedback (id, project_id, user_id, rating, created_at) VALUES
                 (gen_random_uuid(), '{bread}', 'ada', 5, now()), (gen_random_uuid(), '{bread}', 'ada', 5, now()),
                 (gen_random_uuid(), '{shoes}', 'ada', 3, now())"
        ))
        .await;
    let found = |filter: SearchFilter| {
        let memory = memory.clone();
        async move {
            let query = "baker loaf dough runner shoes город";
            let filter = SearchFilter { limit: 100, ..filter };
            let report = memory.search(&purpose("ada"), query, &filter).await.unwrap();
            let mut seen: Vec<_> = report
                .hits
                .iter()
                .map(|hit| (hit.project_id.unwrap(), hit.kind, hit.shot))
                .collect();
            seen.sort();
            (seen, report.left_out_by_filters)
        }
    };
    let projects = |seen: &[(ProjectId, PassageKind, Option<i32>)]| {
        let mut projects: Vec<_> = seen.iter().map(|(project, ..)| *project).collect();
        projects.dedup();
        projects
    };
    let everything = found(SearchFilter::default()).await.0;
    assert_eq!(projects(&everything), [bread, shoes, city]);

    let wide = SearchFilter { aspect: Some("16:9".to_owned()), ..SearchFilter::default() };
    assert_eq!(projects(&found(wide).await.0), [shoes]);
    let later = SearchFilter {
        since: Some("2026-11-20T00:00:00Z".parse().unwrap()),
        ..SearchFilter::default()
    };
    assert_eq!(projects(&found(later.clone()).await.0), [shoes, city], "the first moment counts");
    let until = SearchFilter { until: Some("2026-11-21T00:00:00Z".parse().unwrap()), ..later };
    assert_eq!(projects(&found(until).await.0), [shoes], "the last one does not");

    // Both halves: the project's mean is 5, and its second shot has a rating of its own, which does
    // not count as the project's.
    let good = SearchFilter { rating: Some(4.5), ..SearchFilter::default() };
    let (seen, _) = found(good).await;
    assert_eq!(projects(&seen), [bread]);
    assert!(seen.contains(&(bread, PassageKind::Shot, Some(1))), "{seen:?}");
    assert!(!seen.contains(&(bread, PassageKind::Shot, Some(2))), "{seen:?}");

    let nothing = SearchFilter { aspect: Some("1:1".to_owned()), ..SearchFilter::default() };
    assert_eq!(found(nothing).await, (Vec::new(), true));
    let report = memory
        .search(
            &purpose("ada"),
            "xyzzy",
            &SearchFilter { rating: Some(5.0), ..SearchFilter::default() },
        )
        .await
        .unwrap();
    assert!(!report.left_out_by_filters, "nor would anything have been found without it");
}

/// At a hundredth of two thousand vectors, the ten nearest are found as a comparison of all
/// of them finds them.
#[tokio::test]
async fn filters_do_not_ruin_recall() {
    let database = Database::new().await;
    let mut session = database.store.session().await.unwrap();
    let place = database.store.index_place();
    embeddings::index::ensure(&mut session, aida::memory::BUILTIN_MODEL, place).await.unwrap();
    session.close().await;
    database
        .run(&format!(
            "INSERT INTO projects (id, user_id, brief, title, slug, aspect, duration_seconds, shot_count,
                                   created_at, updated_at)
             SELECT ('00000000-0000-0000-0000-' || lpad(number::text, 12, '0'))::uuid, 'ada', 'b', 't', 's',
                    CASE number WHEN 7 THEN '1:1' ELSE '9:16' END, 30, 6,
                    timestamptz '2026-01-01' + number * interval '1 day', now()
             FROM generate_series(1, 100) AS number;
             INSERT INTO project_feedback (id, project_id, user_id, rating, created_at)
             SELECT gen_random_uuid(), id, 'ada', CASE aspect WHEN '1:1' THEN 5 ELSE 2 END, now() FROM projects;
             INSERT INTO project_embeddings (id, user_id, project_id, kind, subject_id, part, content, model,
                                             embedding, created_at)
             SELECT gen_random_uuid(), 'ada', ('00000000-0000-0000-0000-' || lpad((number % 100 + 1)::text, 12, '0'))::uuid,
                    CASE number % 100 WHEN 8 THEN 'script' ELSE 'shot' END, gen_random_uuid(), 0, 'shot', '{}',
                    (SELECT array_agg(sin(number * 12.9898 + place * 78.233 + sin(number * place))::real ORDER BY place)
                     FROM generate_series(1, 1536) AS place)::vector, now()
             FROM generate_series(1, 2000) AS number",
            aida::memory::BUILTIN_MODEL
        ))
        .await;
    let scopes = [
        Scope { aspect: Some("1:1".to_owned()), ..Scope::default() },
        Scope { rating: Some(4.5), ..Scope::default() },
        Scope { kinds: vec![PassageKind::Script], ..Scope::default() },
        Scope {
            since: Some("2026-01-07T12:00:00Z".parse().unwrap()),
            until: Some("2026-01-08T12:00:00Z".parse().unwrap()),
            ..Scope::default()
        },
    ];
    let (mut found, mut wanted) = (0, 0);
    for (seed, scope) in (0_u16..).zip(scopes) {
        let scope = Scope { user_id: "ada".to_owned(), ..scope };
        for turn in 0..5_u16 {
            let vector: Vec<f32> = (0..1536_u16)
                .map(|place| (f32::from(place) * 0.37 + f32::from(seed * 5 + turn)).sin())
                .collect();
            let vector = pgvector::Vector::from(vector);
            let mut session = database.store.session().await.unwrap();
            let mut transaction = session.begin().await.unwrap();
            let model = aida::memory::BUILTIN_MODEL;
            let near =
                embeddings::by_vector(&mut transaction, &scope, model, &vector, 10).await.unwrap();
            sqlx::query("SET LOCAL enable_indexscan = off")
                .execute(&mut *transaction)
                .await
                .unwrap();
            let exact =
                embeddings::by_vector(&mut transaction, &scope, model, &vector, 10).await.unwrap();
            transaction.rollback().await.unwrap();
            session.close().await;
            assert_eq!(exact.len(), 10);
            wanted += exact.len();
            found +=
                exact.iter().filter(|exact| near.iter().any(|near| near.id == exact.id)).count();
        }
    }
    assert!(found * 100 >= wanted * 95, "{found} of {wanted}");
}

#[tokio::test]
async fn a_take_is_shown_as_its_shot_unless_takes_are_asked_for() {
    let database = Database::new().await;
    let [bread, ..] = database.with_films().await;
    database
        .run(&format!(
            "INSERT INTO prices VALUES ('p', 'kie', 'm', '2026-01-01', '{{}}', 'test', now());
             INSERT INTO operations (id, user_id, project_id, shot_id, kind, component, provider, model, endpoint, state,
                                     price_id, quantity, estimated_usd, created_at)
             SELECT gen_random_uuid(), 'ada', '{bread}', shots.id, kind, kind, 'kie', 'm', 'e', 'kept', 'p', '{{}}', 1, now()
             FROM shots, (VALUES ('image'), ('clip')) AS made (kind) WHERE project_id = '{bread}' AND number = 2;
             INSERT INTO takes (id, project_id, shot_id, operation_id, kind, position, chosen, path, sha256, bytes, created_at)
             SELECT gen_random_uuid(), project_id, shot_id, id, kind, 1, true, kind || '.file', '', 1, now()
             FROM operations"
        ))
        .await;
    let memory = database.memory();
    memory.remember(&purpose("ada"), bread).await.unwrap();

    let all = memory.search(&purpose("ada"), "baker loaf razor", &SearchFilter::default()).await;
    let all = all.unwrap().hits;
    assert_eq!((all[0].kind, all[0].shot), (PassageKind::Shot, Some(2)));
    assert!(all.iter().all(|hit| hit.kind != PassageKind::Take), "{all:?}");
    assert_eq!(all.iter().filter(|hit| hit.shot == Some(2)).count(), 1, "{all:?}");
    let moving = memory.search(&purpose("ada"), "slow push in", &SearchFilter::default()).await;
    let moving = moving.unwrap().hits;
    assert_eq!((moving[0].kind, moving[0].shot), (PassageKind::Shot, Some(2)), "by its clip alone");
    assert_eq!(moving[0].takes[0].path, "clip.file");

    let filter = SearchFilter { kinds: vec![PassageKind::Take], ..SearchFilter::default() };
    let takes = memory.search(&purpose("ada"), "baker loaf razor", &filter).await.unwrap().hits;
    let mut paths: Vec<_> = takes
        .iter()
        .map(|hit| {
            assert_eq!((hit.kind, hit.shot, hit.takes.len()), (PassageKind::Take, Some(2), 1));
            assert_eq!(hit.id, hit.takes[0].id.uuid());
            hit.takes[0].path.as_str()
        })
        .collect();
    paths.sort_unstable();
    assert_eq!(paths, ["clip.file", "image.file"]);
}
