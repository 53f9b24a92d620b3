//! The rule **URL**: what operators paste becomes the base of the API, or is refused.

use proptest::prelude::*;
use regua_domain::configuration::url::{Correction, Product, UrlFault, is_private_address, normalise_url};

#[track_caller]
fn becomes(text: &str, expected: &str, corrections: usize) {
    let (url, made) = normalise_url(text, Product::OpaSuite, true).expect("usable");
    assert_eq!((url.as_str(), made.len()), (expected, corrections), "{made:?}");
    assert_eq!(normalise_url(url.as_str(), Product::OpaSuite, true), Ok((url, Vec::new())), "a fixed point");
}

#[track_caller]
fn is_refused(text: &str, expected: &UrlFault) {
    assert_eq!(normalise_url(text, Product::OpaSuite, false).as_ref(), Err(expected), "{text:?}");
}

#[test]
fn what_operators_paste_becomes_the_api() {
    let api = "https://suporte.provedor.com.br/api/v1";
    becomes(api, api, 0);
    becomes("https://suporte.provedor.com.br:443/api/v1", api, 0);
    becomes("https://suporte.provedor.com.br/api/v1/", api, 1);
    becomes("https:/suporte.provedor.com.br/atendente", api, 2);
    becomes("https:suporte.provedor.com.br", api, 2);
    becomes("https:///suporte.provedor.com.br/api/v1", api, 1);
    becomes("  HTTPS://Suporte.Provedor.com.br/Atendente/chat/5 ", api, 1);
    becomes("https://suporte.provedor.com.br/atendente/api/v1", api, 1);
    becomes("https://suporte.provedor.com.br/api/v1/template/send", api, 1);
    becomes("https://suporte.provedor.com.br/atendente?tab=1#/chat", api, 2);
    becomes("suporte.provedor.com.br", api, 2);
    becomes("//suporte.provedor.com.br/", api, 2);
    becomes("suporte.provedor.com.br:8443/login", "https://suporte.provedor.com.br:8443/api/v1", 2);
    becomes("https://proxy.provedor.com.br/opa/api/v1/", "https://proxy.provedor.com.br/opa/api/v1", 1);
    becomes("http://127.0.0.1:9000", "http://127.0.0.1:9000/api/v1", 1);
    becomes("[::1]:9000", "https://[::1]:9000/api/v1", 2);
}

#[test]
fn each_correction_is_named() {
    let (_, made) = normalise_url("https:/opa.example.com/atendente?x=1", Product::OpaSuite, false).expect("usable");
    let path = Correction::PathReplaced { from: "/atendente".into(), to: "/api/v1".into() };
    assert_eq!(made, [Correction::SlashesMended, Correction::QueryDropped, path]);
}

#[test]
fn the_erp_has_a_path_of_its_own() {
    for text in
        ["ixc.provedor.com.br", "https://ixc.provedor.com.br/adm.php", "https://ixc.provedor.com.br/webservice/v1/cliente"]
    {
        let (url, _) = normalise_url(text, Product::Ixc, false).expect("usable");
        assert_eq!(url.as_str(), "https://ixc.provedor.com.br/webservice/v1");
    }
}

#[test]
fn what_is_no_base_is_refused() {
    is_refused(" ", &UrlFault::Empty);
    is_refused("htps://opa.example.com", &UrlFault::Scheme("htps".into()));
    is_refused("ftp:/opa.example.com", &UrlFault::Scheme("ftp".into()));
    is_refused("http://opa.example.com", &UrlFault::Unencrypted);
    is_refused("https://user@opa.example.com", &UrlFault::Credentials);
    is_refused("https://:pw@opa.example.com", &UrlFault::Credentials);
    let path = UrlFault::UnknownPath { path: "/painel/x".into(), base: "/api/v1".into() };
    is_refused("https://opa.example.com/painel/x", &path);
    for malformed in ["https://", "https://opa example.com", "https://opa.example.com:99999", "https://1.2.3.256"] {
        assert!(matches!(normalise_url(malformed, Product::OpaSuite, true), Err(UrlFault::Malformed(_))), "{malformed}");
    }
}

#[test]
fn private_hosts_are_refused() {
    let names = ["localhost", "opa", "opa.localhost", "opa.local", "opa.lan", "db.internal", "opa.home.arpa", "OPA.LOCAL."];
    let v4 = [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
    ];
    let disguised = ["2130706433", "0x7f.1", "017700000001"];
    let v6 = ["[::1]", "[::]", "[fe80::1]", "[fd00::1]", "[::ffff:10.0.0.1]", "[ff02::1]"];
    for host in names.iter().chain(&v4).chain(&disguised).chain(&v6) {
        let text = format!("https://{host}/api/v1");
        assert!(matches!(normalise_url(&text, Product::OpaSuite, false), Err(UrlFault::PrivateHost(_))), "{host}");
        assert!(normalise_url(&text, Product::OpaSuite, true).is_ok(), "{host}");
    }
    for host in ["100.63.255.255", "100.128.0.0", "172.32.0.1", "8.8.8.8", "[2001:4860:4860::8888]", "local.com.br", "mylan.net"]
    {
        assert!(normalise_url(&format!("https://{host}"), Product::OpaSuite, false).is_ok(), "{host}");
    }
}

proptest! {
    #[test]
    fn no_text_panics_and_a_result_is_a_fixed_point(text in r"(https?:/{0,3})?\PC{0,40}(/(api|v1|atendente|\PC{0,5})){0,3}") {
        for product in [Product::OpaSuite, Product::Ixc] {
            if let Ok((url, _)) = normalise_url(&text, product, true) {
                prop_assert!(url.path().ends_with(&product.base_path()));
                prop_assert!(url.query().is_none() && url.fragment().is_none() && url.username().is_empty());
                prop_assert_eq!(normalise_url(url.as_str(), product, true), Ok((url, Vec::new())));
            }
        }
    }
}

#[track_caller]
fn check_address(ip: &str, private: bool) {
    assert_eq!(is_private_address(ip.parse().expect("an address")), private, "{ip}");
}

#[test]
fn addresses_outside_the_public_internet_are_private() {
    for ip in [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "198.18.0.1",
        "192.0.0.170",
    ] {
        check_address(ip, true);
    }
    for ip in ["::1", "::", "fd00::1", "fe80::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1"] {
        check_address(ip, true);
    }
    // Ways to write a private IPv4 address, or a network of one's own, that only routers know.
    for ip in ["::10.0.0.1", "2002:7f00:1::", "2002:a00:1::1", "64:ff9b:1::808:808", "fec0::1"] {
        check_address(ip, true);
    }
    for ip in
        ["8.8.8.8", "100.128.0.1", "172.32.0.1", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
    {
        check_address(ip, false);
    }
}
