//! TenantService.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use windhover_executor::now;
use windhover_proto::{
    admin::v1::{self as proto, tenant_service_server::TenantService},
    reasons,
};
use windhover_store::TenantRow;
use windhover_types::{Error, ErrorKind, Tenant};

use super::{Shared, answer, internal, lists::scan, open};
use crate::{
    auth::{Caller, Role, tenant_not_found},
    convert,
    create::check_request_id,
    error::Result,
    page::{Binding, page_size},
};

pub(crate) struct TenantApi(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl TenantService for TenantApi {
    async fn create_tenant(
        &self,
        request: Request<proto::CreateTenantRequest>,
    ) -> Result<Response<proto::CreateTenantResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.create(&caller, request).await)
    }

    async fn get_tenant(
        &self,
        request: Request<proto::GetTenantRequest>,
    ) -> Result<Response<proto::GetTenantResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.get(&caller, request).await)
    }

    async fn list_tenants(
        &self,
        request: Request<proto::ListTenantsRequest>,
    ) -> Result<Response<proto::ListTenantsResponse>, Status> {
        let (_, request) = open(request)?;
        answer(self.list(request).await)
    }
}

impl TenantApi {
    async fn create(
        &self,
        caller: &Caller,
        request: proto::CreateTenantRequest,
    ) -> Result<proto::CreateTenantResponse> {
        const METHOD: &str = "CreateTenant";
        check_request_id(&request.request_id)?;
        let tenant = Tenant::parse(&request.tenant_id).map_err(|error| {
            let why = error.message.clone();
            error.field("tenant_id", why)
        })?;
        if !request.display_name.is_empty() && request.display_name != request.tenant_id {
            let why = "display names other than the id are not supported yet; leave it empty";
            return Err(Error::new(ErrorKind::Unimplemented, reasons::UNSUPPORTED, why).field("display_name", why));
        }
        if !self.0.done_before(&caller.tenant, METHOD, &request.request_id, &request).await? {
            if !self.0.store.create_tenant(&tenant, now()).await? {
                let message = format!("there is a tenant `{tenant}` already");
                return Err(
                    Error::new(ErrorKind::AlreadyExists, reasons::TENANT_EXISTS, message).with("tenant", &tenant)
                );
            }
            self.0.audit(caller, "TenantService.CreateTenant", format!("tenants/{tenant}")).await;
            self.0.remember(&caller.tenant, METHOD, &request.request_id, &request).await;
        }
        let row = self.0.store.get_tenant(&tenant).await?;
        let row = row.ok_or_else(|| internal("a tenant that was just made is not there"))?;
        Ok(proto::CreateTenantResponse { tenant: Some(shown(row)) })
    }

    async fn get(&self, caller: &Caller, request: proto::GetTenantRequest) -> Result<proto::GetTenantResponse> {
        let tenant = match request.tenant_id.as_str() {
            "" => caller.tenant.clone(),
            name => Tenant::parse(name)?,
        };
        // Others see no tenant but their own.
        if tenant != caller.tenant && caller.role < Role::PlatformAdmin {
            return Err(tenant_not_found(tenant.as_str()));
        }
        let row = self.0.store.get_tenant(&tenant).await?.ok_or_else(|| tenant_not_found(tenant.as_str()))?;
        Ok(proto::GetTenantResponse { tenant: Some(shown(row)) })
    }

    async fn list(&self, request: proto::ListTenantsRequest) -> Result<proto::ListTenantsResponse> {
        let binding = Binding::new(&["tenants"]);
        let after = self.0.begin(&binding, &request.page_token)?;
        let store = &self.0.store;
        let page = scan(
            page_size(request.page_size)?,
            after,
            true,
            |after, limit| async move {
                let after = after.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                Ok(store.list_tenants(after.as_deref(), limit).await?)
            },
            |row: &TenantRow| row.tenant.as_str().as_bytes().to_vec(),
            |_| true,
        )
        .await?;
        Ok(proto::ListTenantsResponse {
            tenants: page.items.into_iter().map(shown).collect(),
            next_page_token: self.0.next_token(&binding, page.next),
        })
    }
}

fn shown(row: TenantRow) -> proto::Tenant {
    let id = row.tenant.as_str().to_owned();
    proto::Tenant { display_name: id.clone(), id, created: Some(convert::time(row.created_at)) }
}
