//! `hamlet.instance.v1.FeatureService`.

use std::collections::HashMap;

use hamlet_proto::hamlet::instance::v1::{
    ContextFlags, DefaultFlags, FlagShare, FlagShares, GetContextFlagsRequest,
    GetDefaultFlagsRequest, ListFlagsRequest, ListFlagsResponse, UpdateContextFlagsRequest,
    UpdateDefaultFlagsRequest, feature_service_server::FeatureService,
};
use serde_json::{Number, Value};
use service_kit::caller::Caller;
use tonic::{Request, Response, Status};

use super::Shared;
use crate::{
    actions::{
        features::{
            change::{FlagsChange, change, stored_shares},
            list::{context_name, list},
        },
        find,
    },
    domain::{
        features::{self, Flags, Share},
        spec::InvalidField,
    },
    error::Error,
    store::FlagsOf,
};

/// The handlers.
#[derive(Clone, Debug)]
pub(crate) struct Features(pub(crate) Shared);

impl Features {
    fn context_flags(&self, context: &str, flags: &Flags) -> ContextFlags {
        let shares = flags.iter().map(|(name, value)| {
            let shares = shares_of(value).into_iter().map(|share| FlagShare {
                ratio: share.ratio.as_f64().unwrap_or_default(),
                value: share.value.to_string(),
            });
            let shares = FlagShares {
                shares: shares.collect(),
            };
            (name.clone(), shares)
        });
        ContextFlags {
            context: context.to_owned(),
            flags: shares.collect(),
            configured_flags: features::texts(&self.0.contexts.get(context).features),
        }
    }
}

/// What other software wrote in another form gives none.
fn shares_of(value: &Value) -> Vec<Share> {
    let shares = value.as_array().into_iter().flatten();
    shares
        .filter_map(|share| serde_json::from_value(share.clone()).ok())
        .collect()
}

fn read(name: &str, text: &str) -> Result<Value, InvalidField> {
    features::parse(text).map_err(|wrong| InvalidField {
        field: format!("flags.{name}"),
        wrong,
    })
}

fn read_all(texts: HashMap<String, String>) -> Result<Flags, Error> {
    let mut wrong = Vec::new();
    let mut flags = Flags::new();
    for (name, text) in texts {
        match read(&name, &text) {
            Ok(value) => {
                flags.insert(name, value);
            }
            Err(field) => wrong.push(field),
        }
    }
    if wrong.is_empty() {
        Ok(flags)
    } else {
        Err(wrong.into())
    }
}

fn read_shares(name: &str, shares: FlagShares) -> Result<Value, Error> {
    let wrong = |wrong: String| InvalidField {
        field: format!("flags.{name}"),
        wrong,
    };
    let mut read_shares = Vec::new();
    for share in shares.shares {
        let ratio = Number::from_f64(share.ratio)
            .ok_or_else(|| wrong("has a ratio that is no number".to_owned()))?;
        read_shares.push(Share {
            ratio,
            value: read(name, &share.value)?,
        });
    }
    if read_shares.is_empty() {
        return Err(wrong("has no shares; name the flag in removed instead".to_owned()).into());
    }
    stored_shares(name, &read_shares)
}

fn context_named(given: &str) -> Result<&str, Error> {
    features::check_name(context_name(given)).map_err(|wrong| InvalidField {
        field: "context".to_owned(),
        wrong,
    })?;
    Ok(context_name(given))
}

#[tonic::async_trait]
impl FeatureService for Features {
    async fn list_flags(
        &self,
        request: Request<ListFlagsRequest>,
    ) -> Result<Response<ListFlagsResponse>, Status> {
        Caller::of(&request)?.require_admin()?;
        let name = find::parse_resource_name("name", &request.into_inner().name)?;
        let found = find::by_name(&self.0.store, &name).await?;
        let instance = &found.document.body;
        let sources = list(&self.0.store, &self.0.contexts, instance)
            .await
            .map_err(Error::from)?;
        Ok(Response::new(ListFlagsResponse {
            flags: features::texts(&sources.flags(&found.id)),
            instance_flags: features::texts(&sources.instance),
            context_flags: Some(
                self.context_flags(context_name(&instance.context), &sources.context),
            ),
            default_flags: features::texts(&sources.defaults),
        }))
    }

    async fn get_default_flags(
        &self,
        request: Request<GetDefaultFlagsRequest>,
    ) -> Result<Response<DefaultFlags>, Status> {
        Caller::of(&request)?.require_admin()?;
        let found = self.0.store.flags(FlagsOf::Everyone).await;
        let found = found.map_err(Error::from)?;
        let flags = found.map(|found| features::texts(&found.body));
        Ok(Response::new(DefaultFlags {
            flags: flags.unwrap_or_default(),
        }))
    }

    async fn update_default_flags(
        &self,
        request: Request<UpdateDefaultFlagsRequest>,
    ) -> Result<Response<DefaultFlags>, Status> {
        Caller::of(&request)?.require_admin()?;
        let request = request.into_inner();
        let asked = FlagsChange {
            set: read_all(request.flags)?,
            removed: request.removed,
        };
        let changed = change(
            &self.0.store,
            FlagsOf::Everyone,
            asked,
            request.validate_only,
        )
        .await?;
        Ok(Response::new(DefaultFlags {
            flags: features::texts(&changed),
        }))
    }

    async fn get_context_flags(
        &self,
        request: Request<GetContextFlagsRequest>,
    ) -> Result<Response<ContextFlags>, Status> {
        Caller::of(&request)?.require_admin()?;
        let request = request.into_inner();
        let context = context_named(&request.context)?;
        let found = self.0.store.flags(FlagsOf::Context(context)).await;
        let flags = found.map_err(Error::from)?.map(|found| found.body);
        // Flags of a context can be set before it is configured.
        if flags.is_none() && !self.0.contexts.knows(context) {
            return Err(Error::NoSuchContext(context.to_owned()).into());
        }
        let flags = flags.unwrap_or_default();
        Ok(Response::new(self.context_flags(context, &flags)))
    }

    async fn update_context_flags(
        &self,
        request: Request<UpdateContextFlagsRequest>,
    ) -> Result<Response<ContextFlags>, Status> {
        Caller::of(&request)?.require_admin()?;
        let request = request.into_inner();
        let context = context_named(&request.context)?;
        let mut set = Flags::new();
        for (name, shares) in request.flags {
            let shares = read_shares(&name, shares)?;
            set.insert(name, shares);
        }
        let asked = FlagsChange {
            set,
            removed: request.removed,
        };
        let changed = change(
            &self.0.store,
            FlagsOf::Context(context),
            asked,
            request.validate_only,
        )
        .await?;
        Ok(Response::new(self.context_flags(context, &changed)))
    }
}
