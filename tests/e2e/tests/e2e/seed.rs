//! The vendor's guide ("Integração IXC Provedor e Opa! Suite") gone through in its order, with its very strings; each quoted sentence is its own.

use chrono::{DateTime, Utc};
use regua_e2e::{House, until};
use regua_simulators::opa::catalogue::{CHANNEL_WHATSAPP, TEMPLATE_OF_THE_GUIDE, TEMPLATE_WITHOUT_VARIABLES};
use serde_json::Value;
use std::fmt::Write as _;

const VARIABLES: &str = "#cliente_razao#,#areceber_valor#,#areceber_data_vencimento#";
const TEMPLATE: &str = "Olá {{1}}! Sua fatura com valor {{2}} e com data de vencimento {{3}} já se encontra disponível.";
const READ: &str =
    "Olá João da Silva! Sua fatura com valor R$123,00 e com data de vencimento 19/07/2023 já se encontra disponível.";

/// The ten fields "Mensagem omnichannel (…)" in the guide's order, as it prints them (the first one with its misprint), and our stages;
/// the day only where the tab counts from the due date.
const TABS: [(&str, &str, Option<i32>); 10] = [
    ("Pŕe-cobrança", "pre_due", Some(-2)),
    ("Aviso de Cobrança", "overdue", Some(3)),
    ("Quest. Pendência", "pending_query", Some(7)),
    ("Agendar Pagamento", "payment_scheduling", Some(12)),
    ("Cobrança Presencial", "in_person", Some(20)),
    ("Crédito/Cartório", "credit_bureau", Some(45)),
    ("Baixa", "settled", None),
    ("Cancelamento", "cancelled", None),
    ("Renegociação", "renegotiated", None),
    ("Remover negativações", "bureau_removed", None),
];

/// What "Menu Configurações", "Parâmetros da Cobrança" and the first task hold; "Clique no botão Novo" has no counterpart.
fn configuration() -> String {
    let mut file = format!(
        "[[integration]]\nname = \"Integração Opa Suite\"\ndescription = \"WhatsApp\"\ngateway = \"opa-suite\"\nurl_env = \"REGUA_DEMO_OPA_URL\"\n\
         token_env = \"REGUA_DEMO_OPA_TOKEN\"\ndefault = true\n[[channel]]\nname = \"WhatsApp\"\nid = \"{CHANNEL_WHATSAPP}\"\n[[source]]\nname = \"Arquivos\"\n\
         kind = \"files\"\n[[task]]\nname = \"Atualizar cobranças\"\nkind = \"update-collections\"\nminute = 0\nhour = 8\nday_of_week = \"1-5\"\n"
    );
    for (label, stage, _) in TABS {
        // What concerns a customer as such has no invoice to speak of.
        let (template, variables) =
            if stage == "bureau_removed" { (TEMPLATE_WITHOUT_VARIABLES, "") } else { (TEMPLATE_OF_THE_GUIDE, VARIABLES) };
        write!(
            file,
            "[[notice]]\nname = \"{label}\"\nchannel = \"WhatsApp\"\ntemplate = \"{template}\"\nvariables = \"{variables}\"\n"
        )
        .unwrap();
    }
    file += "[[policy]]\nname = \"Todos os clientes\"\n";
    for (label, stage, days) in TABS {
        let days = days.map(|days| format!("days = {days}\n")).unwrap_or_default();
        let notice = format!("# Mensagem omnichannel ({label})\n{days}notice = \"{label}\"\n");
        write!(file, "[[policy.stage]]\nstage = \"{stage}\" {notice}").unwrap();
    }
    file
}

/// "Confira, a seguir, como realizar a configuração da tarefa": Minuto, Hora, Dia do mês, Mês, Dia da semana.
fn sending(minute: u32) -> String {
    format!(
        "[[task]]\nname = \"Envia Mensagens Omnichannel da Fila\"\nkind = \"send-queued-messages\"\nminute = {minute}\nhour = 8\n\
         day_of_month = \"Todos\"\nmonth = \"Todos\"\nday_of_week = \"1-5\"\n"
    )
}

async fn refused(house: &House, file: &str, part: &str) {
    house.cli.run(&["config", "check", &house.write("refused.toml", file.as_bytes())]).await.refused(2, part);
}

async fn status(house: &House) -> Value {
    house.cli.run(&["status", "--json"]).await.good().json()
}

/// Moves the ledger's clock to this time of 17 July 2023, a Monday, in São Paulo.
async fn pass_to(house: &House, time: &str) {
    let to: DateTime<Utc> = format!("2023-07-17T{time}-03:00").parse().unwrap();
    let now: DateTime<Utc> = status(house).await["now"].as_str().unwrap().parse().unwrap();
    assert!(to > now, "{time} has passed");
    house.database().pass(to - now).await;
}

async fn import(house: &House) {
    let mut customers = "id;razao;telefone_celular;uf\n1;João da Silva;(49) 98811-0001;SC\n".to_owned();
    let mut invoices = "id;id_cliente;valor;data_vencimento;status\n101;1;123,00;19/07/2023;A\n".to_owned();
    for (id, due) in (2..).zip(["14/07/2023", "10/07/2023", "05/07/2023", "27/06/2023", "02/06/2023"]) {
        writeln!(customers, "{id};Cliente {id};(49) 98811-000{id};SC").unwrap();
        writeln!(invoices, "10{id};{id};50,00;{due};A").unwrap();
    }
    for (kind, text) in [("customers", customers), ("invoices", invoices)] {
        house.cli.run(&["import", kind, &house.write(kind, text.as_bytes()), "--json"]).await.good();
    }
}

/// What Opa! Suite says that the contacts read.
async fn read_by_contacts(house: &House) -> Vec<String> {
    let asked = reqwest::Client::new().get(format!("{}/api/v1/atendimento/mensagem", house.opa.url()));
    let answer = asked.bearer_auth(house.opa.token()).send().await.unwrap().text().await.unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    answer["data"].as_array().unwrap().iter().map(|message| message["mensagem"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vendors_guide_is_gone_through_from_the_integration_to_the_sending() {
    let base = configuration();
    let mut house = House::build_with(1, &base).await;
    house.cli.environment.insert("REGUA_DEMO_NOW".into(), "2023-07-17T10:50:00Z".into());
    let _up = house.up().await;
    the_integration(&house, &base).await;
    import(&house).await;
    the_message(&house, &base).await;
    the_policy(&house, &base).await;
    the_tasks(&house, &base).await;
    the_queue(&house, &base).await;
}

async fn the_integration(house: &House, base: &str) {
    // "Gateway: Selecione a opção Opa Suite"
    refused(house, &base.replace("\"opa-suite\"", "\"Opa Suite\""), "write \"opa-suite\"").await;
    // "OBS URL: https:/suporte.provedor.com.br/atendente ➜ […] nesta parte do URL, altere para ➜ /api/v1."
    let pasted = base.replace("url_env = \"REGUA_DEMO_OPA_URL\"", "url = \"https:/suporte.provedor.com.br/atendente\"");
    let told = house.cli.run(&["config", "apply", &house.write("pasted.toml", pasted.as_bytes()), "--dry-run"]).await.good();
    told.refused(0, "taken as https://suporte.provedor.com.br/api/v1");
    told.refused(0, "path `/atendente` replaced by `/api/v1`");
    // "vincule a integração […] de modo que esta integração seja padrão para seu sistema"
    refused(house, &base.replace("default = true", "default = false"), "or default = true in one [[integration]]").await;
    let (_, removed) = base.split_once("[[channel]]").unwrap();
    refused(house, &format!("[[channel]]{removed}"), "no integration is the default one for \"WhatsApp\"").await;
}

async fn the_message(house: &House, base: &str) {
    // "Após a finalização da configuração, clique no botão Salvar."
    let saved = house.cli.run(&["config", "apply", &house.write("message.toml", base.as_bytes())]).await.good();
    assert!(saved.err.contains("fila parada"), "the task is missing, and that is told: {saved:?}");
    // "será listado no campo texto do template a mensagem configurada"
    let listed = house.cli.run(&["notice", "list", "--json"]).await.good();
    let first: Value = serde_json::from_str(listed.out.lines().next().unwrap()).unwrap();
    assert_eq!((&first["text"], &first["variables"]), (&TEMPLATE.into(), &VARIABLES.into()), "{first}");
    // "as variáveis precisam ser adicionadas no IXC Provedor na ordem correta, separando por vírgula."
    let short = house.write("short.toml", base.replacen(VARIABLES, "#cliente_razao#,#areceber_valor#", 1).as_bytes());
    house.cli.run(&["config", "apply", &short]).await.refused(1, "has 3 placeholders, the notice has 2 variables");
    // "EX: Olá João da Silva! …"
    let preview = house.cli.run(&["preview", TABS[0].0, "--invoice", "101", "--json"]).await.good().json();
    assert_eq!(preview["text"], READ);
}

async fn the_policy(house: &House, base: &str) {
    // Whoever writes a tab's label is told the stage's name; the misprinted one as the guide prints it elsewhere, "aba Pré-cobrança/Lembrete".
    for (label, stage, _) in TABS {
        let label = if stage == "pre_due" { "Pré-cobrança/Lembrete" } else { label };
        let typed = base.replace(&format!("stage = \"{stage}\""), &format!("stage = \"{label}\""));
        refused(house, &typed, &format!("write \"{stage}\"")).await;
    }
    let exported = house.cli.run(&["config", "export"]).await.good().out;
    let places = TABS.map(|(_, stage, _)| exported.find(&format!("stage = \"{stage}\"")).expect(stage));
    assert!(places.is_sorted(), "the tabs keep the guide's order: {exported}");
}

async fn the_tasks(house: &House, base: &str) {
    // "configure a rotina […] com pelo menos 30 minutos de diferença entre as execuções."
    refused(house, &format!("{base}{}", sending(29)), "leave at least 30 minutes").await;
    // "a tarefa precisa ser configurada em um horário que não tenha nenhuma outra tarefa configurada."
    let other = "[[task]]\nkind = \"reserved\"\nname = \"Remessa\"\nminute = 30\nhour = 8\n";
    refused(house, &format!("{base}{}{other}", sending(30)), "choose a minute that no other task uses").await;
    // "Para executar todos os dias do mês, marque a opção "Todos"." and
    // "ao indicar 1-5, a tarefa irá executar de segunda à sexta-feira."
    let friday = ["schedule", "next", "30 8 Todos Todos 1-5", "--from", "2023-07-21T08:00:00-03:00", "--count", "2"];
    let fires = house.cli.run(&friday).await.good().out;
    assert_eq!(fires.lines().collect::<Vec<_>>(), ["2023-07-21T08:30:00-03:00", "2023-07-24T08:30:00-03:00"]);
}

async fn the_queue(house: &House, base: &str) {
    let database = house.database();
    // "a tarefa de Atualizar cobranças irá ativar os parâmetros de cobrança e enviar as mensagens […] para a fila do Opa"
    pass_to(house, "08:00:01").await;
    until("the queue is filled", async || (database.count("messages WHERE state = 'held'").await == 6).then_some(())).await;
    let stages = database.texts("SELECT stage FROM messages ORDER BY subject").await.concat();
    assert_eq!(stages, TABS.iter().filter(|tab| tab.2.is_some()).map(|tab| tab.1).collect::<Vec<_>>());
    // "para que estas mensagens sejam efetivamente enviadas, a tarefa Envia Mensagens Omnichannel da Fila é necessária."
    pass_to(house, "08:20:00").await;
    let parked = status(house).await;
    assert_eq!((&parked["parked"]["messages"], &parked["messages"]["held"]), (&6.into(), &6.into()), "{parked}");
    assert!(house.requests().is_empty());
    // "portanto, é um passo obrigatório": "Clique no botão Salvar".
    let saved = house.write("saved.toml", format!("{base}{}", sending(30)).as_bytes());
    house.cli.run(&["config", "apply", &saved]).await.good();
    assert!(status(house).await["parked"].is_null() && house.requests().is_empty(), "it waits for its time");
    pass_to(house, "08:30:01").await;
    let released = "runs WHERE kind = 'send-queued-messages' AND state = 'done'";
    until("the task has run", async || (database.count(released).await == 1).then_some(())).await;
    // The law's window is not the guide's matter, and opens at nine.
    assert!(house.requests().is_empty());
    pass_to(house, "09:00:01").await;
    house.settled().await;
    assert_eq!(database.count("messages WHERE state = 'sent'").await, 6);
    let read = read_by_contacts(house).await;
    assert_eq!((read.len(), read.iter().filter(|text| *text == READ).count()), (6, 1), "{read:?}");
}
