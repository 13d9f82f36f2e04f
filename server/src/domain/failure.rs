//! Why a call fails, in the terms of the contract: a class (which becomes the gRPC code), a reason
//! (which becomes `ErrorInfo.reason`), a sentence, and the fields at fault. Not here: gRPC itself.

use std::fmt;
use std::time::Duration;

/// The class of a failure; each is one gRPC code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The request is wrong whatever the state.
    InvalidArgument,
    /// There is no such thing, or it is somebody else's.
    NotFound,
    /// The state does not allow it.
    FailedPrecondition,
    /// It exists already in another form.
    AlreadyExists,
    /// The credentials are missing or wrong.
    Unauthenticated,
    /// The credentials do not allow it.
    PermissionDenied,
    /// A range was left, e.g. of pages.
    OutOfRange,
    /// The caller has as much as it may have.
    ResourceExhausted,
    /// Trying again may help.
    Unavailable,
    /// In the contract, not built.
    Unimplemented,
    /// The server's own fault.
    Internal,
}

macro_rules! reasons {
    ($($name:ident = $text:literal,)*) => {
        /// Why exactly; the names are those of `cryptopayment.v1.ErrorReason` without its prefix.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the contract's enum documents each cause and cure")]
        pub enum Reason { $($name,)* }

        impl Reason {
            /// Every reason this server gives by itself.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    InvalidField = "INVALID_FIELD",
    FieldRequired = "FIELD_REQUIRED",
    CredentialsMissing = "CREDENTIALS_MISSING",
    CredentialsInvalid = "CREDENTIALS_INVALID",
    KeyModeMismatch = "KEY_MODE_MISMATCH",
    MerchantNotApproved = "MERCHANT_NOT_APPROVED",
    ScopeMissing = "SCOPE_MISSING",
    InvoiceNotFound = "INVOICE_NOT_FOUND",
    UnknownNetwork = "UNKNOWN_NETWORK",
    AmountTooSmall = "AMOUNT_TOO_SMALL",
    AmountTooLarge = "AMOUNT_TOO_LARGE",
    AddressPoolEmpty = "ADDRESS_POOL_EMPTY",
    RateUnavailable = "RATE_UNAVAILABLE",
    IdempotencyConflict = "IDEMPOTENCY_CONFLICT",
    PageTooDeep = "PAGE_TOO_DEEP",
    InvalidPageToken = "INVALID_PAGE_TOKEN",
    InvoiceNotCancelable = "INVOICE_NOT_CANCELABLE",
    CursorExpired = "CURSOR_EXPIRED",
    NotImplemented = "NOT_IMPLEMENTED",
    WebhookTargetRefused = "WEBHOOK_TARGET_REFUSED",
    WebhookEndpointMissing = "WEBHOOK_ENDPOINT_MISSING",
    SandboxRefused = "SANDBOX_REFUSED",
    UnknownScenario = "UNKNOWN_SCENARIO",
    MerchantNotFound = "MERCHANT_NOT_FOUND",
    ApiKeyNotFound = "API_KEY_NOT_FOUND",
    DeliveryNotFound = "DELIVERY_NOT_FOUND",
    AppKeyNextMissing = "APP_KEY_NEXT_MISSING",
    RedeliveriesExhausted = "REDELIVERIES_EXHAUSTED",
    RateLimited = "RATE_LIMITED",
    TooManyWaiting = "TOO_MANY_WAITING",
    UnexpectedDepositNotFound = "UNEXPECTED_DEPOSIT_NOT_FOUND",
    UnexpectedDepositNotCreditable = "UNEXPECTED_DEPOSIT_NOT_CREDITABLE",
    UnexpectedDepositState = "UNEXPECTED_DEPOSIT_STATE",
    ServerUnavailable = "SERVER_UNAVAILABLE",
    RescanNotFound = "RESCAN_NOT_FOUND",
    TooManyRescans = "TOO_MANY_RESCANS",
    Internal = "INTERNAL",
}

/// A field at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Its name, as a path from the request.
    pub field: String,
    /// Why.
    pub reason: Reason,
    /// Why, in a sentence.
    pub description: String,
}

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The class.
    pub class: Class,
    /// The reason.
    pub reason: Reason,
    /// A sentence for a developer.
    pub message: String,
    /// The fields at fault.
    pub violations: Vec<Violation>,
    /// How long to wait before another call can help, where that is known.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure that no field is to blame for.
    pub fn new(class: Class, reason: Reason, message: impl Into<String>) -> Self {
        Self { class, reason, message: message.into(), violations: Vec::new(), retry_after: None }
    }

    /// A field with a value that is not allowed.
    pub fn field(field: &str, reason: Reason, description: impl Into<String>) -> Self {
        let description = description.into();
        Self {
            class: Class::InvalidArgument,
            reason,
            message: format!("{field} {description}"),
            violations: vec![Violation { field: field.to_owned(), reason, description }],
            retry_after: None,
        }
    }

    /// A field `network` that names none of these, which are the `which` ones.
    pub fn unknown_network<'n>(which: &str, names: impl IntoIterator<Item = &'n str>) -> Self {
        let names: Vec<&str> = names.into_iter().collect();
        let hint = format!("is not one of the {which} networks: {}", names.join(", "));
        Self::field("network", Reason::UnknownNetwork, hint)
    }

    /// The same, with how long to wait.
    #[must_use]
    pub fn retry_after(self, time: Duration) -> Self {
        Self { retry_after: Some(time), ..self }
    }

    /// The server's own fault; the text goes to the log, never to the caller.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Class::Internal, Reason::Internal, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.as_str(), self.message)
    }
}

impl std::error::Error for Failure {}
