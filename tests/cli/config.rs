//! Settings: where they come from, and what is never shown.

use crate::sandbox::Sandbox;

#[test]
fn the_sources_are_shown_and_the_secrets_are_not() {
    let sandbox = Sandbox::new()
        .with("ANTHROPIC_API_KEY", "sk-secret-1")
        .with("DATABASE_URL", "postgres://ada:sk-secret-2@db.example/aida")
        .with("AIDA_ASPECT", "16:9");
    sandbox.config("fal_key = \"sk-secret-3\"\nvideo_model = \"kling-3-pro\"\n");
    sandbox.file("seed.env", "export KIE_API_KEY='sk-secret-4' # from the seed\nPORT=3003\n");
    for form in [&["config", "show"][..], &["config", "show", "--json"]] {
        let words: Vec<_> = form.iter().copied().chain(["--env-file", "seed.env"]).collect();
        let shown = sandbox.aida(&words);
        assert_eq!(shown.code, 0, "{shown}");
        assert!(!shown.to_string().contains("sk-secret"), "{shown}");
        assert_eq!(shown.stderr, "");
    }
    insta::assert_snapshot!(sandbox.aida(&[
        "config",
        "show",
        "--env-file",
        "seed.env",
        "--user",
        "ada",
        "--data-dir",
        "/data"
    ]));
}

#[test]
fn no_debug_log_shows_a_secret() {
    let sandbox = Sandbox::new()
        .with("ANTHROPIC_API_KEY", "sk-secret-1")
        .with("AIDA_LOG", "trace")
        .with("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
        .with("DATABASE_URL", "postgres://ada:sk-secret-2@127.0.0.1:9/aida");
    let shown = sandbox.aida(&["health"]);
    assert_eq!(shown.code, 9, "{shown}");
    assert!(!shown.to_string().contains("sk-secret"), "{shown}");
}

#[test]
fn the_path_is_data() {
    let sandbox = Sandbox::new();
    let shown = sandbox.aida(&["config", "path"]);
    assert!(shown.stdout.trim_end().ends_with("config.toml"), "{shown}");
    let shown = sandbox.aida(&["config", "path", "--config", "here.toml"]);
    assert_eq!(shown.stdout, "here.toml\n");
}

#[test]
fn init_does_not_ask_where_nobody_answers_and_keeps_what_is_there() {
    let sandbox = Sandbox::new();
    let shown = sandbox.aida(&["config", "init", "--config", "c.toml"]);
    insta::assert_snapshot!(shown);
    assert!(!sandbox.home().join("c.toml").exists());
    sandbox.file("c.toml", "user = \"ada\"");
    let shown = sandbox.aida(&["config", "init", "--config", "c.toml"]);
    assert_eq!(shown.code, 2, "{shown}");
    assert!(shown.stderr.contains("--force"), "{shown}");
}

#[test]
fn the_printed_example_is_the_shipped_one() {
    let shown = Sandbox::new().aida(&["config", "example"]);
    assert_eq!(shown.stdout, include_str!("../../config.example.toml"));
}
