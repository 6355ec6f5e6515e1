//! Who calls an instance. No module here does I/O, and none knows a transport.
//!
//! - [`session`]: the sessions of an owner's browsers, and the cookie that proves one
//! - [`token`] makes tokens, [`bearer`] reads them, [`scope`] says what they allow
//! - [`passphrase`]: passphrases and what is derived from them, with the keys of the vault
//! - [`secrets`]: values that pages and cookies carry
//! - [`browser`]: what a browser says of itself
//! - [`tries`]: how often somebody may guess a passphrase; [`ration`]: how many mails somebody gets or causes
//! - [`second_factor`]: codes and links that come by mail
//! - [`invalid_field`]: what is wrong with a value of a request
//! - [`client`]: OAuth clients, [`grant`]: what they ask for and get, [`allowance`]: how many strangers may register
//! - [`text`]: what people read

pub mod allowance;
pub mod bearer;
pub mod browser;
pub mod client;
pub mod grant;
pub mod invalid_field;
pub mod passphrase;
pub mod ration;
pub mod scope;
pub mod second_factor;
pub mod secrets;
pub mod session;
pub mod text;
pub mod time;
pub mod token;
pub mod tries;
