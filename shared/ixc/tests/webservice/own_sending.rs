//! What the ERP says about its own senders: read where it may be, and never guessed.

use crate::raw_erp::{Erp, Server};
use regua_ixc::webservice::{IxcClient, IxcError, OmnichannelGateway, OwnCollection, Refusal};
use serde_json::{Value, json};

async fn erp(tables: impl IntoIterator<Item = (&'static str, Vec<Value>)>) -> (Server, IxcClient) {
    let server = Erp::new(tables).start().await;
    let client = server.client();
    (server, client)
}

#[tokio::test]
async fn the_engines_switches_are_read() {
    for (regua, crm, expected) in [
        (json!("S"), json!("N"), OwnCollection { regua: Some(true), crm: Some(false) }),
        (json!(""), json!("S"), OwnCollection { regua: Some(false), crm: Some(true) }),
        (json!(true), json!("talvez"), OwnCollection { regua: Some(true), crm: None }),
        (json!(["S"]), json!("n"), OwnCollection { regua: None, crm: Some(false) }),
    ] {
        let row = json!({"id": "1", "ativar_regua_cobranca": regua, "utiliza_cobranca_auto": crm, "senha": "segredo"});
        let (_server, client) = erp([("parametros", vec![row])]).await;
        assert_eq!(client.own_collection().await.expect("readable"), Some(expected));
    }
    let (_server, client) = erp([("parametros", vec![json!({"id": "1"})])]).await;
    let unknown = OwnCollection { regua: None, crm: None };
    assert_eq!(client.own_collection().await.expect("readable"), Some(unknown), "an absent column is not off");
    let (_server, client) = erp([("parametros", vec![])]).await;
    assert_eq!(client.own_collection().await.expect("readable"), None);
}

#[tokio::test]
async fn gateways_are_listed_without_their_tokens() {
    let gateway = |id: u32, url: &str| json!({"id": id.to_string(), "descricao": "Opa", "url": url, "token": "segredo"});
    let (_server, client) =
        erp([("gateway_omnichannel", vec![gateway(1, "https:/a.example.com/atendente"), gateway(2, "")])]).await;
    let gateways = client.omnichannel_gateways().await.expect("readable");
    let expected = [("1", "https:/a.example.com/atendente"), ("2", "")];
    assert_eq!(gateways, expected.map(|(id, url)| OmnichannelGateway { id: id.into(), url: url.into() }));
    assert!(!format!("{gateways:?}").contains("segredo"));
}

#[tokio::test]
async fn a_user_without_the_right_is_told_apart_from_engines_that_are_off() {
    let (_server, client) = erp([]).await;
    for error in [client.own_collection().await.err(), client.omnichannel_gateways().await.err()] {
        let unavailable = matches!(error, Some(IxcError::Refused { refusal: Refusal::ResourceUnavailable, .. }));
        assert!(unavailable, "{error:?}");
    }
}
