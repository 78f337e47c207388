//! gRPC's health checking protocol: one `Check` over a fresh plain connection.

use std::time::Duration;

use component_base::flags::GoDuration;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic::{Code, Request};

use super::check::Outcome;

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

const SERVING: i32 = 1;

fn status_name(status: i32) -> &'static str {
    match status {
        1 => "SERVING",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    }
}

/// Asks the server at `host:port` for the health of `service`.
pub async fn check(host: &str, port: u16, service: &str, timeout: Duration) -> Outcome {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let address = format!("{host}:{port}");
    let limit = GoDuration(timeout);
    match tokio::time::timeout(timeout, ask(&address, service)).await {
        Err(_) => Outcome::Failure(format!(
            "timeout: failed to connect service {address:?} within {limit}: context deadline exceeded"
        )),
        Ok(Err(failure)) => Outcome::Failure(failure),
        Ok(Ok(SERVING)) => Outcome::Success,
        Ok(Ok(status)) => {
            Outcome::Failure(format!("service unhealthy (responded with {:?})", status_name(status)))
        }
    }
}

async fn ask(address: &str, service: &str) -> Result<i32, String> {
    let unreachable =
        |error: tonic::transport::Error| format!("error: failed to connect service at {address:?}: {error}");
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(unreachable)?;
    let endpoint = endpoint.user_agent("kube-probe/1.37").map_err(unreachable)?;
    let channel = endpoint.connect().await.map_err(unreachable)?;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(unreachable)?;
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    let request = Request::new(HealthCheckRequest { service: service.to_owned() });
    let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    match client.unary(request, path, codec).await {
        Ok(answer) => Ok(answer.into_inner().status),
        Err(status) if status.code() == Code::Unimplemented => Err(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {}",
            status.message()
        )),
        Err(status) => Err(format!("error: health rpc probe failed: {}", status.message())),
    }
}
