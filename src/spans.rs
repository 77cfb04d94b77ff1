//! Traces and metrics: the spans of a run, its steps and its calls to providers, and what they cost.
//!
//! This is the one place that knows the names. They follow OpenTelemetry's conventions for
//! generative AI (<https://github.com/open-telemetry/semantic-conventions-genai>, all of them still in
//! development in 2026-11) and HTTP; what has no name there begins with `aida.`. Spans and metrics have
//! a target of their own, so that the log does not see them, and cost nothing where nobody listens. They
//! hold no prompt and no answer.

use reqwest::{Method, StatusCode};
use rust_decimal::prelude::ToPrimitive;
use tracing::field::{Empty, display};
use tracing::{Level, Span};
use url::Url;

use crate::ids::{ProjectId, RunId};
use crate::ledger::money::{Quantity, TokenCounts, Usd};
use crate::ledger::operation::OperationKind;

/// The target of every span.
pub const SPANS: &str = "aida_spans";
/// The target of every metric.
pub const METRICS: &str = "aida_metrics";

/// A run as it is driven by one process: the root of a trace.
pub fn run(run: RunId, project: ProjectId, kind: &str) -> Span {
    tracing::info_span!(
        target: SPANS,
        parent: None,
        "run",
        aida.run.id = %run,
        aida.project.id = %project,
        aida.run.kind = kind,
        otel.status_code = Empty,
        error.type = Empty,
    )
}

/// One step of one shot: its image or its clip.
pub fn step(shot: u32, kind: OperationKind) -> Span {
    tracing::info_span!(
        target: SPANS,
        "step",
        otel.name = format!("{} of shot {shot}", kind.as_str()),
        aida.shot.number = shot,
        aida.step = kind.as_str(),
        otel.status_code = Empty,
        error.type = Empty,
    )
}

/// A stage of the run that buys nothing by itself, such as cutting.
pub fn stage(name: &'static str) -> Span {
    tracing::info_span!(target: SPANS, "stage", otel.name = name, otel.status_code = Empty, error.type = Empty)
}

/// A paid call to a model, from its reservation to its settlement.
pub fn call(kind: OperationKind, provider: &str, model: &str, component: &str) -> Span {
    let operation = match kind {
        OperationKind::Language => "chat",
        OperationKind::Embedding => "embeddings",
        _ => "generate_content",
    };
    tracing::info_span!(
        target: SPANS,
        "call",
        otel.kind = "client",
        otel.name = format!("{operation} {model}"),
        gen_ai.operation.name = operation,
        gen_ai.provider.name = provider,
        gen_ai.request.model = model,
        gen_ai.agent.name = component,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        gen_ai.usage.cache_read.input_tokens = Empty,
        gen_ai.usage.cache_creation.input_tokens = Empty,
        aida.cost.usd = Empty,
        otel.status_code = Empty,
        error.type = Empty,
    )
}

/// One exchange with a provider.
pub fn exchange(provider: &str) -> Span {
    tracing::info_span!(
        target: SPANS,
        "exchange",
        otel.kind = "client",
        otel.name = Empty,
        gen_ai.provider.name = provider,
        http.request.method = Empty,
        server.address = Empty,
        url.path = Empty,
        http.response.status_code = Empty,
        otel.status_code = Empty,
        error.type = Empty,
    )
}

/// Tells what an exchange asks, on the span that is entered: never the query, which may hold a secret.
pub fn asks(method: &Method, url: &Url) {
    let span = Span::current();
    span.record("otel.name", method.as_str());
    span.record("http.request.method", method.as_str());
    span.record("server.address", url.host_str().unwrap_or_default());
    span.record("url.path", url.path());
}

/// Tells the status of the answer, on the span that is entered.
pub fn answers(status: StatusCode) {
    Span::current().record("http.response.status_code", status.as_u16());
}

/// Marks a span as failed, with the class of the failure and none of its words.
pub fn failed(span: &Span, class: &str) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", class);
}

/// Tells what a call cost: on the span that is entered, and in the metrics. `settled` is none where nobody
/// knows; then `ceiling` is what it may have cost.
pub fn charged(
    (provider, model, component): (&str, &str, &str),
    quantity: &Quantity,
    settled: Option<Usd>,
    ceiling: Usd,
) {
    let span = Span::current();
    if let Quantity::Tokens(tokens) = quantity {
        record_tokens(&span, *tokens);
        for (class, count) in [("input", tokens.input()), ("output", tokens.output)] {
            tracing::event!(
                target: METRICS,
            Level::INFO,
                gen_ai.token.type = class,
                gen_ai.provider.name = provider,
                gen_ai.request.model = model,
                aida.component = component,
                histogram.gen_ai.client.token.usage = count,
            );
        }
        tracing::event!(
            target: METRICS,
            Level::INFO,
            aida.component = component,
            monotonic_counter.aida.prompt_cache.read_tokens = tokens.cache_read,
        );
    }
    // A metric is a picture of the books and no book: here a float does.
    let dollars = |amount: Usd| amount.dollars().to_f64().unwrap_or_default();
    if let Some(settled) = settled {
        span.record("aida.cost.usd", display(settled.dollars()));
        tracing::event!(
            target: METRICS,
            Level::INFO,
            gen_ai.provider.name = provider,
            gen_ai.request.model = model,
            aida.component = component,
            monotonic_counter.aida.cost.settled_usd = dollars(settled),
        );
    } else {
        tracing::event!(
            target: METRICS,
            Level::INFO,
            gen_ai.provider.name = provider,
            gen_ai.request.model = model,
            aida.component = component,
            monotonic_counter.aida.cost.unknown_usd = dollars(ceiling),
        );
    }
}

fn record_tokens(span: &Span, tokens: TokenCounts) {
    span.record("gen_ai.usage.input_tokens", tokens.input());
    span.record("gen_ai.usage.output_tokens", tokens.output);
    span.record("gen_ai.usage.cache_read.input_tokens", tokens.cache_read);
    span.record(
        "gen_ai.usage.cache_creation.input_tokens",
        tokens.cache_write_5m + tokens.cache_write_1h,
    );
}
