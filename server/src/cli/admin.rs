//! The operator's commands: a client of the admin socket that prints tables for people and JSON for
//! programs. Not here: any rule; the server decides.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use cryptopayment_proto::admin::v1;
use cryptopayment_proto::admin::v1::api_key_service_client::ApiKeyServiceClient;
use cryptopayment_proto::admin::v1::merchant_service_client::MerchantServiceClient;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::UnixStream;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::output::{Answer, Section, note};
use super::{
    AdminArguments, AdminCommand, AppKeyCommand, KeyView, KeysCommand, Late, MerchantsCommand,
    WebhookCommand,
};

mod audit;
mod deliveries;
mod networks;
mod unexpected;

/// Columns of tables of merchants, for people.
const MERCHANT_COLUMNS: &[&str] = &["id", "name", "approved", "late", "shortfall_percent"];
/// Columns of tables of keys, for people.
const KEY_COLUMNS: &[&str] =
    &["api_key", "name", "revoked", "view", "webhook_url", "webhook_events"];

/// Runs one command.
pub async fn run(socket: &Path, arguments: AdminArguments) -> anyhow::Result<ExitCode> {
    let channel = connect(socket).await?;
    let json = arguments.json;
    let answer = match arguments.command {
        AdminCommand::Audit => match audit::run(channel, json).await {
            Ok(code) => return Ok(code),
            Err(status) => Err(status),
        },
        AdminCommand::Merchants(command) => merchants(channel, command).await,
        AdminCommand::Keys(command) => keys(channel, command).await,
        AdminCommand::Webhook(command) => webhook(channel, command).await,
        AdminCommand::AppKey(command) => app_key(channel, command).await,
        AdminCommand::Networks(command) => networks::run(channel, command).await,
        AdminCommand::Deliveries(command) => deliveries::run(channel, command).await,
        AdminCommand::UnexpectedDeposits(command) => unexpected::run(channel, command).await,
    };
    match answer {
        Ok(answer) => answer.print(json)?,
        Err(status) => {
            note(status.message());
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn connect(socket: &Path) -> anyhow::Result<Channel> {
    let path = socket.to_owned();
    let connector = tower::service_fn(move |_: http::Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    // The address is never used: the connector always opens the socket.
    let endpoint = Endpoint::from_static("http://localhost");
    endpoint.connect_with_connector(connector).await.with_context(|| {
        format!("no server answers on {}; is it running with this data_dir?", socket.display())
    })
}

async fn merchants(channel: Channel, command: MerchantsCommand) -> Result<Answer, Status> {
    let mut client = MerchantServiceClient::new(channel.clone());
    let found = match command {
        MerchantsCommand::Create { name } => {
            let request = v1::CreateMerchantRequest { name };
            client.create_merchant(request).await?.into_inner().merchant.into_iter().collect()
        }
        MerchantsCommand::Approve { id } => {
            let request = v1::ApproveMerchantRequest { id };
            client.approve_merchant(request).await?.into_inner().merchant.into_iter().collect()
        }
        MerchantsCommand::Set { id, late, shortfall_percent } => {
            let late = late.map(|late| match late {
                Late::Reject => v1::LatePolicy::Reject.into(),
                Late::Honor => v1::LatePolicy::Honor.into(),
            });
            let request = v1::UpdateMerchantRequest {
                id,
                late_policy: late,
                shortfall_basis_points: shortfall_percent,
            };
            client.update_merchant(request).await?.into_inner().merchant.into_iter().collect()
        }
        MerchantsCommand::Show { id } => {
            let request = v1::GetMerchantRequest { id: id.clone() };
            let merchant = client.get_merchant(request).await?.into_inner().merchant;
            let request = v1::ListApiKeysRequest { merchant_id: id };
            let keys = ApiKeyServiceClient::new(channel).list_api_keys(request).await?;
            let keys = keys.into_inner().keys.iter().map(key_row).collect();
            let merchant = merchant.iter().map(merchant_row).collect();
            return Ok(Answer(vec![
                Section { title: "merchant", columns: MERCHANT_COLUMNS, rows: merchant },
                Section { title: "keys", columns: KEY_COLUMNS, rows: keys },
            ]));
        }
        MerchantsCommand::List => {
            client.list_merchants(v1::ListMerchantsRequest {}).await?.into_inner().merchants
        }
    };
    Ok(Answer::table(MERCHANT_COLUMNS, found.iter().map(merchant_row).collect()))
}

fn merchant_row(merchant: &v1::Merchant) -> Value {
    let late = if merchant.late_policy() == v1::LatePolicy::Honor { "honor" } else { "reject" };
    let points = merchant.shortfall_basis_points;
    json!({
        "id": merchant.id,
        "name": merchant.name,
        "approved": merchant.approved,
        "late": late,
        "shortfall_percent": format!("{}.{:02}", points / 100, points % 100),
        "created_at": moment(merchant.created_at),
    })
}

async fn keys(channel: Channel, command: KeysCommand) -> Result<Answer, Status> {
    let mut client = ApiKeyServiceClient::new(channel);
    match command {
        KeysCommand::Create { merchant, name, full_view } => {
            let view = if full_view { v1::RestView::Full } else { v1::RestView::Basic };
            let request =
                v1::CreateApiKeyRequest { merchant_id: merchant, name, rest_view: view.into() };
            let created = client.create_api_key(request).await?.into_inner();
            let row = json!({
                "api_key": created.key.map(|key| key.api_key),
                "api_secret": created.api_secret,
                "app_key": created.app_key,
            });
            Ok(Answer::table(&["api_key", "api_secret", "app_key"], vec![row]))
        }
        KeysCommand::Set { key, name, view } => {
            let view = view.map(|view| match view {
                KeyView::Basic => v1::RestView::Basic.into(),
                KeyView::Full => v1::RestView::Full.into(),
            });
            let request = v1::UpdateApiKeyRequest { api_key: key, name, rest_view: view };
            let key = client.update_api_key(request).await?.into_inner().key;
            Ok(Answer::table(KEY_COLUMNS, key.iter().map(key_row).collect()))
        }
        KeysCommand::Revoke { key } => {
            let request = v1::RevokeApiKeyRequest { api_key: key };
            let key = client.revoke_api_key(request).await?.into_inner().key;
            Ok(Answer::table(KEY_COLUMNS, key.iter().map(key_row).collect()))
        }
        KeysCommand::List { merchant } => {
            let request = v1::ListApiKeysRequest { merchant_id: merchant };
            let keys = client.list_api_keys(request).await?.into_inner().keys;
            Ok(Answer::table(KEY_COLUMNS, keys.iter().map(key_row).collect()))
        }
    }
}

async fn webhook(channel: Channel, command: WebhookCommand) -> Result<Answer, Status> {
    let mut client = ApiKeyServiceClient::new(channel);
    let key = match command {
        WebhookCommand::Set { key, url, events } => {
            let request = v1::SetWebhookRequest { api_key: key, url, events };
            client.set_webhook(request).await?.into_inner().key
        }
        WebhookCommand::Show { key } => {
            let request = v1::GetApiKeyRequest { api_key: key };
            client.get_api_key(request).await?.into_inner().key
        }
        WebhookCommand::Test { key, next_app_key } => {
            let request = v1::SendTestRequest { api_key: key, use_next_app_key: next_app_key };
            let answer = client.send_test(request).await?.into_inner();
            let row = json!({
                "delivered": answer.delivered,
                "status_code": answer.status_code,
                "error": answer.error,
                "duration_ms": answer.duration_ms,
            });
            return Ok(Answer::table(&[], vec![row]));
        }
    };
    Ok(Answer::table(KEY_COLUMNS, key.iter().map(key_row).collect()))
}

async fn app_key(channel: Channel, command: AppKeyCommand) -> Result<Answer, Status> {
    let mut client = ApiKeyServiceClient::new(channel);
    let row = match command {
        AppKeyCommand::Show { key } => {
            let request = v1::GetAppKeyRequest { api_key: key };
            let answer = client.get_app_key(request).await?.into_inner();
            json!({
                "app_key": answer.app_key,
                "app_key_next": answer.app_key_next,
                "signing_secret": answer.signing_secret,
            })
        }
        AppKeyCommand::Create { key } => {
            let request = v1::CreateAppKeyRequest { api_key: key };
            let answer = client.create_app_key(request).await?.into_inner();
            json!({ "app_key": answer.app_key, "app_key_next": answer.app_key_next })
        }
        AppKeyCommand::Activate { key } => {
            let request = v1::ActivateAppKeyRequest { api_key: key };
            let answer = client.activate_app_key(request).await?.into_inner();
            json!({ "app_key": answer.app_key })
        }
        AppKeyCommand::RotateSecret { key } => {
            let request = v1::RotateSigningSecretRequest { api_key: key };
            let answer = client.rotate_signing_secret(request).await?.into_inner();
            json!({
                "signing_secret": answer.signing_secret,
                "signing_secret_previous": answer.signing_secret_previous,
            })
        }
    };
    Ok(Answer::table(&[], vec![row]))
}

fn key_row(key: &v1::ApiKey) -> Value {
    json!({
        "api_key": key.api_key,
        "name": key.name,
        "revoked": key.revoked,
        "view": if key.rest_view() == v1::RestView::Full { "full" } else { "basic" },
        "webhook_url": key.webhook_url,
        "webhook_events": key.webhook_events,
        "created_at": moment(key.created_at),
    })
}

/// A moment as every answer writes it.
fn moment(at: Option<prost_types::Timestamp>) -> Option<String> {
    let at = OffsetDateTime::from_unix_timestamp(at?.seconds).ok()?;
    at.format(&Rfc3339).ok()
}
