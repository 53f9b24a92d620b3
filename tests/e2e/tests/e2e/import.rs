//! Files in the ERP's own column names, from the first import to what the customers read.

use regua_e2e::{House, configuration};

/// The demo's configuration with files for a source.
pub fn files() -> String {
    let text = configuration(&[]);
    let (before, rest) = text.split_once("[[source]]").unwrap();
    let (_, after) = rest.split_once("# When messages may leave").unwrap();
    format!("{before}[[source]]\nname = \"Arquivos\"\nkind = \"files\"\n\n#{after}")
}

/// As a spreadsheet in Brazil writes it: Windows-1252, semicolons.
fn windows_1252(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).expect("a character of Windows-1252 that Latin-1 has, too")).collect()
}

const CUSTOMERS: &str = "id;razao;telefone_celular;whatsapp;uf\n\
    1;José da Conceição;(49) 98811-2233;;SC\n\
    2;Padaria São João Ltda;;(11) 97654-3210;SP\n\
    3;Úrsula Gonçalves;(51) 99876-5432;;RS\n\
    4;Sem Telefone;(49) 3322-1100;;SC\n";
/// On 24/11/2026 they are due in three days, today, and three days ago.
const INVOICES: &str = "id;id_cliente;valor;data_vencimento;status\n\
    100;1;1.234,56;27/11/2026;A\n\
    101;2;99,90;24/11/2026;A\n\
    102;3;R$ 79,90;21/11/2026;A\n\
    103;4;59,90;24/11/2026;A\n";

async fn import(house: &House, kind: &str, file: &str, more: &[&str]) -> regua_e2e::Done {
    house.cli.run(&[&["import", kind, file, "--json"], more].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_days_files_become_notices_and_bad_lines_are_told_one_by_one() {
    let house = House::build_with(1, &files()).await;
    let config = house.cli.environment["REGUA_CONFIG"].clone();
    // The ledger's clock is set by `up`, so it runs once before anything is imported.
    let up = house.up().await;
    drop(up);
    house.cli.run(&["config", "check", &config]).await.good();
    let database = house.database();
    let customers = house.write("clientes.csv", &windows_1252(CUSTOMERS));
    let bad = format!("{INVOICES}104;1;dez reais;24/11/2026;A\n105;2;10,00;31/02/2026;A\n");
    let bad = house.write("ruim.csv", &windows_1252(&bad));
    let good = house.write("boletos.csv", &windows_1252(INVOICES));

    let done = import(&house, "customers", &customers, &[]).await.good().json();
    assert_eq!((&done["good"], &done["bad"]), (&4.into(), &0.into()), "{done}");
    let done = import(&house, "invoices", &bad, &["--all-or-nothing"]).await;
    assert_eq!((done.code, &done.json()["kept"], database.count("invoices").await), (Some(1), &false.into(), 0), "{done:?}");
    let remarks = done.json()["remarks"].to_string();
    for part in ["ruim.csv, line 6", "valor", "ruim.csv, line 7", "data_vencimento"] {
        assert!(remarks.contains(part), "{part}: {remarks}");
    }
    let done = import(&house, "invoices", &bad, &[]).await;
    assert_eq!(
        (done.code, &done.json()["good"], &done.json()["bad"]),
        (Some(1), &4.into(), &2.into()),
        "good lines are kept: {done:?}"
    );
    for _ in 0..2 {
        import(&house, "invoices", &good, &[]).await.good();
        assert_eq!(database.count("invoices").await, 4, "importing again changes nothing");
        // Nobody holds the file: the command does the work itself.
        house.run("update-collections").await;
        assert_eq!(database.count("messages").await, 4);
    }
    let _up = house.up().await;
    house.run("send-queued-messages").await;
    house.settled().await;

    let mut sent: Vec<(String, Vec<String>)> =
        house.requests().into_iter().map(|request| (request.phone, request.variables)).collect();
    sent.sort();
    let expected = [
        ("+5511976543210", ["Padaria São João Ltda", "R$99,90", "24/11/2026"]),
        ("+5549988112233", ["José da Conceição", "R$1.234,56", "27/11/2026"]),
        ("+5551998765432", ["Úrsula Gonçalves", "R$79,90", "21/11/2026"]),
    ];
    assert_eq!(sent, expected.map(|(phone, texts)| (phone.to_owned(), texts.map(str::to_owned).to_vec())));
    let skipped = database.texts("SELECT subject, reason FROM messages WHERE state = 'skipped'").await;
    assert_eq!(skipped, [["103", "no_valid_phone"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_date_or_a_phone_that_changes_after_the_decision_is_seen_before_the_sending() {
    let house = House::build_with(1, &files()).await;
    let _up = house.up().await;
    let write = |name: &str, text: &str| house.write(name, &windows_1252(text));
    import(&house, "customers", &write("c1.csv", CUSTOMERS), &[]).await.good();
    import(&house, "invoices", &write("i1.csv", INVOICES), &[]).await.good();
    house.run("update-collections").await;
    let database = house.database();
    assert_eq!(database.count("messages WHERE state = 'held'").await, 3);
    // Customer 1 has another number now, and invoice 101 is due a month later.
    let customers = CUSTOMERS.replace("(49) 98811-2233", "(49) 98877-6655");
    import(&house, "customers", &write("c2.csv", &customers), &[]).await.good();
    let invoices = INVOICES.replace("101;2;99,90;24/11/2026", "101;2;99,90;24/12/2026");
    import(&house, "invoices", &write("i2.csv", &invoices), &[]).await.good();
    house.run("send-queued-messages").await;
    house.settled().await;

    let mut phones: Vec<String> = house.requests().into_iter().map(|request| request.phone).collect();
    phones.sort();
    assert_eq!(phones, ["+5549988776655", "+5551998765432"]);
    let moved = database.texts("SELECT state, reason FROM messages WHERE subject = '101'").await;
    assert_eq!(moved, [["skipped", "due_date_moved"]]);
}
