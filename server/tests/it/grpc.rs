//! The port as gRPC's own tools see it: reflection, health, gRPC-web, and which methods exist.

use cryptopayment::domain::asset::Network;
use cryptopayment_proto::v1::event_service_client::EventServiceClient;
use cryptopayment_proto::v1::invoice_service_client::InvoiceServiceClient;
use cryptopayment_proto::v1::stream_events_request::From;
use cryptopayment_sdk::v1;
use http::uri::PathAndQuery;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use reqwest::Method;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_types::StatusExt as _;

use crate::conformance::world::World;
use crate::support::rest::{Rest, answer};
use crate::support::server::DEADLINE;

async fn channel(world: &World) -> Channel {
    Channel::from_shared(world.server.url.clone()).unwrap().connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_lists_the_services_and_health_says_serving() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let channel = channel(&world).await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = ServerReflectionClient::new(channel.clone())
        .server_reflection_info(tokio_stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    for service in ["Invoice", "Balance", "Withdrawal", "Webhook", "Event", "Network"] {
        let name = format!("cryptopayment.v1.{service}Service");
        assert!(names.contains(&name), "{name} is missing in {names:?}");
    }
    assert!(names.iter().all(|name| !name.contains("admin")), "{names:?}");

    let request = HealthCheckRequest { service: String::new() };
    let health = HealthClient::new(channel).check(request).await.unwrap().into_inner();
    assert_eq!(health.status(), ServingStatus::Serving);
    world.finish().await;
}

/// Calls a method with an empty message and returns the code it answers with.
async fn code_of(channel: &Channel, authorization: &str, path: &str) -> Code {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let mut request = Request::new(v1::GetBalancesRequest {});
    request.metadata_mut().insert("authorization", authorization.parse().unwrap());
    let codec: ProstCodec<v1::GetBalancesRequest, v1::GetBalancesRequest> = ProstCodec::default();
    let path = path.to_owned().try_into().unwrap();
    match client.server_streaming(request, path, codec).await {
        Ok(mut answer) => match answer.get_mut().message().await {
            Err(status) => status.code(),
            Ok(_) => Code::Ok,
        },
        Err(status) => status.code(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn withdrawals_alone_are_not_built_and_the_operators_methods_are_elsewhere() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let channel = channel(&world).await;
    let authorization = world.server.authorization();
    let set = FileDescriptorSet::decode(cryptopayment_proto::DESCRIPTOR_SET).unwrap();
    let mut unimplemented = Vec::new();
    for file in set.file.iter().filter(|file| file.package().starts_with("cryptopayment.")) {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                let code = code_of(&channel, &authorization, &path).await;
                assert_ne!(code, Code::Internal, "{path}");
                if code == Code::Unimplemented {
                    unimplemented.push(path);
                }
            }
        }
    }
    let elsewhere = unimplemented.iter().filter(|path| path.contains(".admin.")).count();
    let operators = set.file.iter().filter(|file| file.package() == "cryptopayment.admin.v1");
    let operators: usize =
        operators.flat_map(|file| &file.service).map(|service| service.method.len()).sum();
    assert_eq!(elsewhere, operators, "every operator's method: {unimplemented:?}");
    assert!(operators > 10, "the contract has operators' methods");
    unimplemented.retain(|path| !path.contains(".admin."));
    unimplemented.sort();
    let withdrawals = ["CreateWithdrawal", "GetWithdrawal", "ListWithdrawals"]
        .map(|method| format!("/cryptopayment.v1.WithdrawalService/{method}"));
    assert_eq!(unimplemented, withdrawals);
    let unknown = "/cryptopayment.v1.InvoiceService/Nothing";
    assert_eq!(code_of(&channel, &authorization, unknown).await, Code::Unimplemented);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_web_over_http_1_answers_the_same() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let rest = Rest::of(&world.server);
    let message = v1::ListNetworksRequest {}.encode_to_vec();
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(message);
    let response = rest
        .request(Method::POST, "/cryptopayment.v1.NetworkService/ListNetworks")
        .header("content-type", "application/grpc-web+proto")
        .header("x-grpc-web", "1")
        .body(frame)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status().as_u16(), 200);
    assert!(response.headers().get("access-control-allow-origin").is_none(), "CORS is asked for");
    let body = response.bytes().await.unwrap();
    let length = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
    let networks = v1::ListNetworksResponse::decode(&body[5..5 + length]).unwrap().networks;
    assert_eq!(networks.len(), 5);
    let trailers = String::from_utf8_lossy(&body[5 + length..]).into_owned();
    assert!(trailers.contains("grpc-status:0"), "{trailers}");
    world.finish().await;
}

/// Sends a message whose first field, a string, is no UTF-8. `Vec<u8>` is a message of one bytes field.
async fn send_no_text(channel: Channel, authorization: &str, path: &'static str) -> Status {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let mut request = Request::new(vec![0xff_u8]);
    request.metadata_mut().insert("authorization", authorization.parse().unwrap());
    let codec: ProstCodec<Vec<u8>, ()> = ProstCodec::default();
    client.unary(request, PathAndQuery::from_static(path), codec).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_none_is_its_callers_fault() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let authorization = world.server.authorization();
    let create = "/cryptopayment.v1.InvoiceService/CreateInvoice";
    let merchants = "/cryptopayment.admin.v1.MerchantService/CreateMerchant";
    for (channel, path, field) in [
        (channel(&world).await, create, "CreateInvoiceRequest.network"),
        (world.server.admin().await, merchants, "CreateMerchantRequest.name"),
    ] {
        let refused = send_no_text(channel, &authorization, path).await;
        let details = refused.get_error_details();
        let info = details.error_info().unwrap_or_else(|| panic!("{refused:?}"));
        let got = (refused.code(), info.reason.as_str(), info.domain.as_str());
        assert_eq!(got, (Code::InvalidArgument, "MALFORMED_MESSAGE", "cryptopayment"));
        assert!(refused.message().contains(field), "{refused:?}");
    }

    let call = Rest::of(&world.server).request(Method::POST, create);
    let call = call.header("content-type", "application/grpc-web+proto");
    let answer = call.body(vec![0, 0, 0, 0, 3, 0x0a, 1, 0xff]).send().await.unwrap();
    let headers = answer.headers();
    assert_eq!(
        (answer.status().as_u16(), &headers["grpc-status"]),
        (200, &"3".parse().unwrap()),
        "{headers:?}"
    );
    assert!(headers.contains_key("grpc-status-details-bin"), "{headers:?}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_merchants_invoice_is_nobodys() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let invoice = world.invoice().await;
    let (key, secret) = world.server.second_merchant().await;
    let stranger = world.server.client_of(&key, &secret);
    let errors = [
        stranger.get_invoice(&invoice.id).await.unwrap_err(),
        stranger.cancel_invoice(&invoice.id).await.unwrap_err(),
        stranger
            .sandbox()
            .pay(cryptopayment_sdk::sandbox_v1::PayInvoiceRequest {
                invoice_id: invoice.id.clone(),
                ..Default::default()
            })
            .await
            .unwrap_err(),
    ];
    for error in errors {
        assert_eq!(
            (error.code(), error.reason()),
            (Some(Code::NotFound), Some("INVOICE_NOT_FOUND"))
        );
    }
    let listed = stranger.list_invoices(Default::default()).await.unwrap();
    assert!(listed.invoices.is_empty());

    world.server.revoke(&key).await;
    let refused = stranger.balances().await.unwrap_err();
    assert_eq!(refused.reason(), Some("CREDENTIALS_INVALID"), "revoked at once");
    world.finish().await;
}

/// A call with this key.
fn with_key<M>(message: M, (key, secret): &(String, String)) -> Request<M> {
    let mut request = Request::new(message);
    let authorization = format!("Bearer {key}:{secret}");
    request.metadata_mut().insert("authorization", authorization.parse().unwrap());
    request
}

/// The next message, or how the stream ended.
async fn next<M>(stream: &mut Streaming<M>) -> Result<M, Status> {
    let told = tokio::time::timeout(DEADLINE, stream.message()).await.expect("it goes on");
    told.map(|message| message.expect("it ends with a status"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_keys_streams_end_before_they_tell_anything_more() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let (channel, key) = (channel(&world).await, world.server.another_key().await);
    let invoice = world.invoice().await;
    let from = Some(From::Start(v1::StreamStart::Latest.into()));
    let request = with_key(v1::StreamEventsRequest { from }, &key);
    let mut client = EventServiceClient::new(channel.clone());
    let mut events = client.stream_events(request).await.unwrap().into_inner();
    assert_eq!(next(&mut events).await.unwrap().event, None, "it says where it begins");
    let request = with_key(v1::WatchInvoiceRequest { id: invoice.id.clone() }, &key);
    let mut client = InvoiceServiceClient::new(channel);
    let mut watch = client.watch_invoice(request).await.unwrap().into_inner();
    next(&mut watch).await.unwrap();
    let rest = Rest::with(&world.server, Some(format!("Bearer {}:{}", key.0, key.1)));
    let path = format!("/api/v1/invoices/{}?wait=60", invoice.id);
    let waits = async { answer(rest.request(Method::GET, &path).timeout(DEADLINE)).await };
    let revoked = async {
        world.server.revoke(&key.0).await;
        world.pay(&invoice, 1, 1).await;
        world.invoice().await;
    };
    let (waited, ()) = tokio::join!(waits, revoked);
    assert_eq!((waited.status, waited.code()), (401, "CREDENTIALS_INVALID".to_owned()));
    for ended in [next(&mut events).await.map(drop), next(&mut watch).await.map(drop)] {
        let ended = ended.expect_err("it was told what came after");
        assert_eq!(ended.code(), Code::Unauthenticated, "{ended:?}");
        let details = ended.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "CREDENTIALS_INVALID");
    }
    world.finish().await;
}
