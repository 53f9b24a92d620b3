//! Templates: the text seen first is the accepted one, and another one stops its own messages alone.

use crate::databases::Fixture;
use crate::setup::{Setup, TEMPLATE};
use crate::world::{World, customer, due_for, invoice};
use regua_domain::stop::{BY_TEMPLATE, StopScope};
use regua_domain::template::{TemplateFault, TemplateText};
use regua_ledger::stops::NewStop;
use regua_ledger::templates::{Accepted, SeenTemplate, StoppedTemplate};

const TEXT: &str = "Olá {{1}}! Não identificamos o pagamento de {{2}}, vencido em {{3}}.";
const OTHER_TEXT: &str = "{{1}}, pague {{2}}, vencido em {{3}}!";

async fn world(f: Fixture) -> World {
    World::new(f, &Setup { open_windows: 9, ..Setup::default() }).await
}

/// The overdue notice's template as Opa! Suite has it now; `None` is gone.
fn seen(text: Option<&str>) -> Vec<SeenTemplate> {
    let now = text.map(|text| TemplateText { name: "aviso".into(), text: text.into() });
    vec![SeenTemplate { integration: "Opa! Suite".into(), template_id: TEMPLATE.into(), now }]
}

async fn look(w: &World, text: Option<&str>) -> Option<StoppedTemplate> {
    w.ledger.note_templates(seen(text)).await.unwrap().pop()
}

async fn stops(w: &World) -> Vec<(StopScope, String, String)> {
    let stops = w.ledger.stops().await.unwrap();
    stops.into_iter().map(|stop| (stop.scope, stop.target, stop.raised_by)).collect()
}

fn stopped() -> (StopScope, String, String) {
    (StopScope::Template, TEMPLATE.into(), BY_TEMPLATE.into())
}

async fn the_text_seen_first_is_kept_and_the_same_again_stops_nothing(f: Fixture) {
    let w = world(f).await;
    for _ in 0..2 {
        assert!(look(&w, Some(TEXT)).await.is_none());
    }
    let template = w.ledger.templates().await.unwrap().remove(0);
    assert_eq!((template.text.as_deref(), template.seen_text.as_deref()), (Some(TEXT), Some(TEXT)));
    assert_eq!((template.name.as_str(), stops(&w).await), ("aviso", vec![]));
}

async fn a_changed_text_stops_its_own_messages_and_the_others_go_on(f: Fixture) {
    let w = world(f).await;
    w.sync(&[customer(1), customer(2)], &[invoice(1, 1, due_for("overdue")), invoice(2, 2, due_for("due_day"))]).await;
    w.evaluate().await;
    w.release().await;
    look(&w, Some(TEXT)).await;
    let found = look(&w, Some(OTHER_TEXT)).await.unwrap();
    assert_eq!((found.fault, found.is_new), (TemplateFault::Changed { name: "aviso".into() }, true));
    assert_eq!(w.top_up(9).await, [w.message_of(2).await.id]);
    assert_eq!(stops(&w).await, [stopped()]);
    let again = look(&w, Some(OTHER_TEXT)).await.unwrap();
    assert!(!again.is_new, "one alarm, not one each day");
    let template = w.ledger.templates().await.unwrap().remove(0);
    assert_eq!((template.text.as_deref(), template.seen_text.as_deref()), (Some(TEXT), Some(OTHER_TEXT)));
}

async fn a_person_accepts_the_new_text_and_the_messages_go_on(f: Fixture) {
    let w = world(f).await;
    w.released(1, 1, "overdue").await;
    look(&w, Some(TEXT)).await;
    look(&w, Some(OTHER_TEXT)).await;
    let accept = || w.ledger.accept_template("Aviso".into(), "ana".into(), "shorter".into());
    assert_eq!(accept().await.unwrap(), Accepted::Accepted { resumed: true });
    assert_eq!(accept().await.unwrap(), Accepted::Accepted { resumed: false });
    assert!(look(&w, Some(OTHER_TEXT)).await.is_none());
    assert_eq!((w.top_up(9).await.len(), stops(&w).await), (1, vec![]));
    let template = w.ledger.templates().await.unwrap().remove(0);
    assert_eq!((template.text.as_deref(), template.accepted_by.as_deref()), (Some(OTHER_TEXT), Some("ana")));
}

async fn a_template_that_is_as_before_again_goes_on_but_a_persons_stop_stays(f: Fixture) {
    let w = world(f).await;
    look(&w, Some(TEXT)).await;
    look(&w, None).await;
    let by_ana = NewStop {
        scope: StopScope::Template,
        target: TEMPLATE.into(),
        raised_by: "ana".into(),
        why: "why".into(),
        until_at: None,
    };
    w.ledger.raise_stop(by_ana).await.unwrap();
    assert!(look(&w, Some(TEXT)).await.is_none());
    assert_eq!(stops(&w).await, [(StopScope::Template, TEMPLATE.into(), "ana".into())]);
}

async fn a_template_that_is_gone_stops_and_cannot_be_accepted(f: Fixture) {
    let w = world(f).await;
    look(&w, Some(TEXT)).await;
    let gone = TemplateFault::Gone { template_id: TEMPLATE.into() };
    assert_eq!(look(&w, None).await.unwrap().fault, gone);
    let accept = |notice: &str| w.ledger.accept_template(notice.into(), "ana".into(), "why".into());
    assert_eq!(accept("Aviso").await.unwrap(), Accepted::Unfit(gone));
    assert_eq!(accept("Lembrete").await.unwrap(), Accepted::NeverSeen);
    assert_eq!(accept("Outro").await.unwrap(), Accepted::UnknownNotice);
    assert_eq!(stops(&w).await, [stopped()]);
    assert_eq!(w.ledger.templates().await.unwrap()[0].text.as_deref(), Some(TEXT), "what it said is kept");
}

async fn a_template_with_another_number_of_placeholders_stops_until_the_notice_fits_it(f: Fixture) {
    let w = world(f).await;
    let misfit = TemplateFault::Misfit { name: "aviso".into(), placeholders: 2, variables: 3 };
    assert_eq!(look(&w, Some("{{1}} {{2}}")).await.unwrap().fault, misfit);
    let accept = || w.ledger.accept_template("Aviso".into(), "ana".into(), "why".into());
    assert_eq!(accept().await.unwrap(), Accepted::Unfit(misfit));
    let fitting = Setup { open_windows: 9, variables: "#cliente_razao#,#areceber_valor#", ..Setup::default() };
    w.ledger.apply_configuration(fitting.configuration()).await.unwrap();
    assert!(look(&w, Some("{{1}} {{2}}")).await.is_none());
    assert_eq!(stops(&w).await, []);
}

conformance! {
    the_text_seen_first_is_kept_and_the_same_again_stops_nothing
    a_changed_text_stops_its_own_messages_and_the_others_go_on
    a_person_accepts_the_new_text_and_the_messages_go_on
    a_template_that_is_as_before_again_goes_on_but_a_persons_stop_stays
    a_template_that_is_gone_stops_and_cannot_be_accepted
    a_template_with_another_number_of_placeholders_stops_until_the_notice_fits_it
}
