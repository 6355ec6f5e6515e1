//! A fake server for any contract. It returns the answers that a test sets, and records the calls.
//!
//! A method is selected by its request type: `fake.answer(|request: Request<GetAppRequest>| …)` answers
//! `hamlet.apps.v1.AppsService/GetApp`. The descriptors say which method takes the message. An answer whose type
//! differs from the method's fails the test at once. A method without an answer returns UNIMPLEMENTED, so a new method
//! of a contract does not affect tests that do not use it.
//!
//! Contracts that several tests need have prepared answers:
//!
//! - [`Script`]: the admin door as the command line calls it (`InstanceService`, `OperationService`,
//!   `google.longrunning.Operations`, `FilesService`, `AppsService`)
//! - [`Directory`]: the calls of the gateway (`DirectoryService`, `IdentityService`)
//! - [`lifecycles`]: the calls of operations to other services (`FilesLifecycleService`, `AppsLifecycleService`)

mod codec;
mod directory;
#[cfg(feature = "database")]
pub mod lifecycles;
mod script;
mod server;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::BoxStream};
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, MethodDescriptor};
use tokio::runtime::Runtime;
use tokio_stream::Stream;
use tonic::{Request, Status, service::Interceptor};

pub use directory::{Changes, Directory, active_instance};
pub use script::{Script, Watch, WatchEnd};

use crate::{doors, eventually_blocking};

/// A running server. Dropping this value stops it, if [`Fake::die`] has not done so before.
pub struct Fake {
    runtime: Option<Runtime>,
    address: SocketAddr,
    shared: Arc<Shared>,
}

type Answers = BoxStream<'static, Result<Bytes, Status>>;
type Answering = BoxFuture<'static, Result<Answers, Status>>;
type Answer = Arc<dyn Fn(Request<Bytes>) -> Answering + Send + Sync>;
type Entrance = Box<dyn Fn(Request<()>) -> Result<Request<()>, Status> + Send + Sync>;

/// The state that the server and its tasks share.
struct Shared {
    entrance: Entrance,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Answers by the path of the method, such as `/hamlet.apps.v1.AppsService/GetApp`.
    answers: HashMap<String, Answer>,
    calls: Vec<Call>,
    refusal: Option<Status>,
    /// Health by the name of the service: whether it is serving.
    health: HashMap<String, bool>,
}

/// A received call, whatever its outcome.
struct Call {
    path: String,
    authority: String,
    /// The message; `None` when the call was not authorized.
    message: Option<Bytes>,
}

/// A method of a contract.
struct Method(MethodDescriptor);

impl Method {
    /// The only method that takes this message.
    fn taking<Q: Name>() -> Self {
        static CONTRACTS: LazyLock<DescriptorPool> = LazyLock::new(|| {
            DescriptorPool::decode(hamlet_proto::FILE_DESCRIPTOR_SET).expect("contracts")
        });
        let name = Q::full_name();
        let mut found = CONTRACTS
            .services()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .filter(|method| method.input().full_name() == name);
        let method = found.next();
        let method = method.unwrap_or_else(|| panic!("no method takes {name}"));
        assert!(found.next().is_none(), "several methods take {name}");
        Self(method)
    }

    fn path(&self) -> String {
        let service = self.0.parent_service().full_name();
        format!("/{service}/{}", self.0.name())
    }

    fn require_answer<A: Name>(&self, stream: bool) {
        let wanted = self.0.output();
        assert_eq!(A::full_name(), wanted.full_name(), "{}", self.path());
        assert_eq!(stream, self.0.is_server_streaming(), "{}", self.path());
    }
}

impl Fake {
    /// Starts a service that accepts callers with the [cluster key](doors::CLUSTER_KEY). The
    /// [`Caller`](service_kit::caller::Caller) of a call is an extension of the request.
    ///
    /// # Panics
    /// When no port is free.
    /// When there is no free port.
    #[must_use]
    pub fn service() -> Self {
        let authenticate = service_kit::caller::Authenticate::new(doors::cluster_key());
        Self::start(Box::new(move |request| authenticate.clone().call(request)))
    }

    /// Starts an admin door that accepts callers with the [credential](doors::ADMIN_CREDENTIAL).
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn admin_door() -> Self {
        let bearer = format!("Bearer {}", doors::ADMIN_CREDENTIAL);
        Self::start(Box::new(move |request| {
            match request.metadata().get("authorization") {
                Some(shown) if *shown == *bearer => Ok(request),
                _ => Err(Status::unauthenticated("the credential is wrong")),
            }
        }))
    }

    fn start(entrance: Entrance) -> Self {
        let shared = Arc::new(Shared {
            entrance,
            state: Mutex::default(),
        });
        let (runtime, address) = server::serve(Arc::clone(&shared));
        Self {
            runtime: Some(runtime),
            address,
            shared,
        }
    }

    /// The address on which it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets the answer of the method that takes `Q`, and replaces an earlier one.
    ///
    /// # Panics
    /// When no method takes `Q`, or the method's response type is not `A`.
    pub fn answer<Q: Asked, A: Name + 'static>(
        &self,
        answer: impl Fn(Request<Q>) -> Result<A, Status> + Send + Sync + 'static,
    ) {
        self.answer_later(move |request| std::future::ready(answer(request)));
    }

    /// As [`Self::answer`], with an asynchronous answer.
    ///
    /// # Panics
    /// As [`Self::answer`].
    pub fn answer_later<Q: Asked, A: Name + 'static, F>(
        &self,
        answer: impl Fn(Request<Q>) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Result<A, Status>> + Send + 'static,
    {
        let method = Method::taking::<Q>();
        method.require_answer::<A>(false);
        self.insert(&method, move |request| {
            answer(request)
                .map(|answer| Ok(futures::stream::iter([encoded(answer?)]).boxed()))
                .boxed()
        });
    }

    /// Sets a streaming answer of the method that takes `Q`.
    ///
    /// # Panics
    /// As [`Self::answer`].
    pub fn stream<Q: Asked, A: Name + 'static, S>(
        &self,
        answer: impl Fn(Request<Q>) -> Result<S, Status> + Send + Sync + 'static,
    ) where
        S: Stream<Item = Result<A, Status>> + Send + 'static,
    {
        let method = Method::taking::<Q>();
        method.require_answer::<A>(true);
        self.insert(&method, move |request| {
            let answers = answer(request).map(|stream| {
                let items = stream.map(|item| item.and_then(encoded));
                items.boxed()
            });
            std::future::ready(answers).boxed()
        });
    }

    fn insert<Q: Asked>(
        &self,
        method: &Method,
        answer: impl Fn(Request<Q>) -> Answering + Send + Sync + 'static,
    ) {
        let answer: Answer = Arc::new(move |request: Request<Bytes>| {
            let (metadata, extensions, message) = request.into_parts();
            match Q::decode(message) {
                Ok(message) => answer(Request::from_parts(metadata, extensions, message)),
                Err(error) => std::future::ready(Err(Status::internal(error.to_string()))).boxed(),
            }
        });
        self.shared.state().answers.insert(method.path(), answer);
    }

    /// From now on, answers every call with this status.
    pub fn refuse(&self, status: Status) {
        self.shared.state().refusal = Some(status);
    }

    /// Sets the health of a service by its name. The server as a whole, whose name is empty, is healthy.
    pub fn report_health(&self, service: &str, serves: bool) {
        let mut state = self.shared.state();
        state.health.insert(service.to_owned(), serves);
    }

    /// The messages of type `Q` received so far, without those of unauthorized calls.
    ///
    /// # Panics
    /// When no method takes `Q`.
    #[must_use]
    pub fn asked<Q: Asked>(&self) -> Vec<Q> {
        let path = Method::taking::<Q>().path();
        let state = self.shared.state();
        state
            .calls
            .iter()
            .filter(|call| call.path == path)
            .filter_map(|call| call.message.clone())
            .map(|message| Q::decode(message).expect("it was decoded before"))
            .collect()
    }

    /// All calls so far, each as `Method authority`.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        let state = self.shared.state();
        state
            .calls
            .iter()
            .map(|call| format!("{} {}", call.method(), call.authority))
            .collect()
    }

    /// How often a method with this name was called.
    #[must_use]
    pub fn called(&self, method: &str) -> usize {
        let state = self.shared.state();
        let calls = state.calls.iter();
        calls.filter(|call| call.method() == method).count()
    }

    /// Blocks until a method has been called this often.
    ///
    /// # Panics
    /// When that does not happen in time.
    #[track_caller]
    pub fn wait_for(&self, method: &str, times: usize) {
        let what = format!("{times} calls of {method}");
        eventually_blocking(&what, || match self.called(method) {
            called if called >= times => Ok(()),
            called => Err(called),
        });
    }

    /// Ends abruptly, as a killed process does: its connections are closed without a response.
    pub fn die(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.die();
    }
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fake")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    fn method(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// A request message of a method.
pub trait Asked: Message + Name + Default + 'static {}

impl<Q: Message + Name + Default + 'static> Asked for Q {}

#[expect(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "the function is passed to map"
)]
fn encoded<A: Message>(answer: A) -> Result<Bytes, Status> {
    Ok(answer.encode_to_vec().into())
}

#[cfg(test)]
mod tests {
    use hamlet_proto::hamlet::{
        apps::v1::{App, GetAppRequest, apps_service_client::AppsServiceClient},
        instance::v1::Instance,
    };
    use service_kit::caller::Door;
    use tonic::Code;

    use super::*;
    use crate::doors::Service;

    #[test]
    #[should_panic(expected = "/hamlet.apps.v1.AppsService/GetApp")]
    fn an_answer_of_another_type_fails_the_test() {
        Fake::service().answer(|_: Request<GetAppRequest>| Ok(Instance::default()));
    }

    #[tokio::test]
    async fn unauthorized_calls_get_no_answer() {
        let fake = Fake::service();
        fake.answer(|asked: Request<GetAppRequest>| {
            Ok(App {
                slug: asked.into_inner().slug,
                ..App::default()
            })
        });
        let service = Service::at(fake.address()).await;
        let asked = GetAppRequest {
            slug: "home".to_owned(),
            kind: 0,
            with_document: false,
        };
        let stranger = AppsServiceClient::new(service.stranger())
            .get_app(asked.clone())
            .await;
        assert_eq!(stranger.unwrap_err().code(), Code::Unauthenticated);
        assert_eq!(fake.called("GetApp"), 1);
        assert_eq!(fake.asked::<GetAppRequest>(), []);
        let mut apps = AppsServiceClient::new(service.through(Door::Admin));
        let answer = apps.get_app(asked.clone()).await.unwrap();
        assert_eq!(answer.into_inner().slug, "home");
        assert_eq!(fake.asked::<GetAppRequest>(), [asked]);
    }

    #[tokio::test]
    async fn methods_without_an_answer_are_unimplemented() {
        let fake = Fake::service();
        let service = Service::at(fake.address()).await;
        let mut apps = AppsServiceClient::new(service.through(Door::Admin));
        let refused = apps.get_app(GetAppRequest::default()).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unimplemented);
    }
}
