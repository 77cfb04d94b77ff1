//! Wrong input: a clear error with what to type next, and the right exit code.

use crate::sandbox::Sandbox;

#[test]
fn an_unknown_key() {
    let sandbox = Sandbox::new();
    sandbox.config("user = \"ada\"\nlangauge_model = \"claude\"\n");
    insta::assert_snapshot!(sandbox.aida(&["config", "show"]));
}

#[test]
fn a_wrong_type() {
    let sandbox = Sandbox::new();
    sandbox.config("user = \"ada\"\nlanguage_budget_usd = true\n");
    insta::assert_snapshot!(sandbox.aida(&["costs"]));
}

#[test]
fn a_negative_budget() {
    let sandbox = Sandbox::new();
    sandbox.config("language_budget_usd = -0.5\n");
    insta::assert_snapshot!(sandbox.aida(&["costs"]));
}

#[test]
fn a_key_without_its_quotes_is_not_shown() {
    let sandbox = Sandbox::new();
    sandbox.config("fal_key = sk-secret\n");
    let shown = sandbox.aida(&["costs"]);
    assert!(!shown.to_string().contains("sk-secret"), "{shown}");
    insta::assert_snapshot!(shown);
}

#[test]
fn a_wrong_variable() {
    insta::assert_snapshot!(Sandbox::new().with("AIDA_ASPECT", "5:4").aida(&["costs"]));
}

#[test]
fn a_host_without_encryption() {
    let sandbox = Sandbox::new().with("KIE_BASE_URL", "http://gateway.example");
    insta::assert_snapshot!(sandbox.aida(&["costs"]));
}

#[test]
fn a_wrong_database_url() {
    insta::assert_snapshot!(Sandbox::new().with("DATABASE_URL", "mysql://x").aida(&["costs"]));
}

#[test]
fn a_database_that_is_down() {
    let sandbox = Sandbox::new().with("DATABASE_URL", "postgres://ada:pw@127.0.0.1:9/aida");
    let shown = sandbox.aida(&["costs"]);
    assert_eq!(shown.code, 9, "{shown}");
    assert!(shown.stderr.contains("127.0.0.1:9") && !shown.stderr.contains("pw"), "{shown}");
}

#[test]
fn a_missing_env_file_and_a_missing_config() {
    let sandbox = Sandbox::new();
    for flag in ["--env-file", "--config"] {
        let shown = sandbox.aida(&["config", "show", flag, "nowhere"]);
        assert_eq!(shown.code, 8, "{shown}");
        assert!(shown.stderr.contains("nowhere") && shown.stderr.contains("hint: "), "{shown}");
    }
}

#[test]
fn wrong_flags_are_wrong_usage() {
    let sandbox = Sandbox::new();
    for words in [
        "costs --last 0",
        "costs --last x",
        "costs --by colour",
        "costs --since soon",
        "costs --since 2999-01-01",
        "costs --csv --json",
        "costs --fail-over -1",
        "costs --min-cache-hit 600",
        "create-video",
        "create-video food --scenes 0",
        "create-video food --scenes 1000",
        "create-video food --duration 0",
        "create-video food --duration ten",
        "create-video food --aspect 5:4",
        "create-video food --budget x",
        "create-video food --plan --preview",
        "create-video food --from 23456789",
        "create-video --from 23456789 --scenes 2",
        "create-video --from 23456789 --aspect 1:1",
        "resume --last --video-model nonsense",
        "retake 23456789 --shot 1 --image-model nonsense",
        "resume --last --all",
        "resume --yes",
        "search",
        "search x --limit 0",
        "campaigns create",
        "migrate --status --dry-run",
        "completions csh",
        "nonsense",
    ] {
        let words: Vec<_> = words.split(' ').collect();
        let shown = sandbox.aida(&words);
        assert_eq!(shown.code, 2, "{words:?}: {shown}");
        assert!(shown.stderr.starts_with("error: "), "{words:?}: {shown}");
    }
}

#[test]
fn a_model_that_a_flag_names_is_told_by_the_flag() {
    let sandbox = Sandbox::new();
    let words = ["resume", "--last", "--video-model", "kling-2.6-prr"];
    let shown = sandbox.aida(&words);
    assert_eq!(shown.code, 2, "{shown}");
    assert!(shown.stderr.starts_with("error: --video-model: there is no model"), "{shown}");
    assert!(shown.stderr.contains("did you mean 'kling-2.6-pro'?"), "{shown}");
}

#[test]
fn bad_briefs() {
    let sandbox = Sandbox::new();
    let long = "x".repeat(100_000);
    for brief in ["", "   ", "food\u{7}video", &long] {
        let shown = sandbox.aida(&["create-video", brief, "--preview"]);
        assert_eq!(shown.code, 2, "{shown}");
        assert!(shown.stderr.contains("hint: "), "{shown}");
        assert!(shown.stderr.len() < 1_000, "the brief is shown whole");
    }
    insta::assert_snapshot!(sandbox.aida(&["create-video", &long]));
}

#[cfg(unix)]
#[test]
fn a_brief_of_bytes() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let output = Sandbox::new()
        .command(&["create-video"])
        .arg(OsStr::from_bytes(b"food \xff video"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("UTF-8"));
}

#[cfg(unix)]
#[test]
fn a_variable_of_bytes() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let sandbox = Sandbox::new();
    for (name, code) in [("AIDA_USER", 8), ("AIDA_CONFIG", 8), ("OF_ANOTHER_PROGRAM", 0)] {
        let mut command = sandbox.command(&["config", "path"]);
        let output = command.env(name, OsStr::from_bytes(b"\xff")).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{name}");
        assert!(code == 0 || String::from_utf8_lossy(&output.stderr).contains(name), "{name}");
    }
}

#[test]
fn scripts_get_wrong_usage_as_json() {
    let sandbox = Sandbox::new();
    for words in
        [&["costs", "--lasst", "3", "--json"][..], &["--json", "create-video"], &["--json"]]
    {
        let shown = sandbox.aida(words);
        let error: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
        assert_eq!((shown.code, &error["error"]["kind"]), (2, &"usage".into()), "{shown}");
        assert!(
            error["error"]["message"].as_str().is_some_and(|words| !words.is_empty()),
            "{shown}"
        );
        assert!(error["error"]["hints"][0].is_string(), "{shown}");
    }
    let shown = sandbox.aida(&["costs", "--lasst", "3", "--json"]);
    assert!(shown.stdout.contains("unexpected argument '--lasst' found"), "{shown}");
    let shown = sandbox.aida(&["costs", "--lasst", "3"]);
    assert_eq!(shown.stdout, "", "{shown}");
}

#[test]
fn scripts_get_the_error_as_json() {
    let shown = Sandbox::new().aida(&["create-video", " ", "--json"]);
    let error: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(error["error"]["kind"], "usage");
    assert_eq!(error["error"]["exit_code"], 2);
    assert!(error["error"]["hints"][0].is_string());
    assert!(shown.stderr.starts_with("error: "), "{shown}");
}
