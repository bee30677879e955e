"""What can go wrong in this library, as types of its own."""


class XdsError(Exception):
    """The root of all errors raised by this library."""


class DuplicateResourceError(XdsError):
    """A snapshot was given two resources of one type and name; clients refuse a response that holds both."""

    def __init__(self, type_url: str, name: str) -> None:
        super().__init__(f"two resources of type {type_url} are named {name!r}; a name must be unique in its type")
        self.type_url = type_url
        self.name = name


class InvalidTtlError(XdsError):
    """A resource was given a time to live that is no finite number of seconds above 0."""

    def __init__(self, type_url: str, name: str, ttl: float) -> None:
        super().__init__(f"resource {name!r} of type {type_url} has a ttl of {ttl} s; it must be finite and above 0")
        self.type_url = type_url
        self.name = name


class BindError(XdsError):
    """The server could not listen on its address."""

    def __init__(self, address: str, cause: str) -> None:
        super().__init__(f"cannot listen on {address}: {cause}")
        self.address = address


class MalformedRequestError(XdsError):
    """A client sent something that is no discovery request, or left out what the protocol demands."""


class CertificateError(XdsError):
    """The certificate files of a server cannot be used."""

    def __init__(self, path: str, cause: str) -> None:
        super().__init__(f"cannot use the certificate {path} with its key and client authorities: {cause}")
        self.path = path


class InvalidMatcherError(XdsError):
    """Somebody asks for clients in a way that cannot be understood, or is not supported."""
