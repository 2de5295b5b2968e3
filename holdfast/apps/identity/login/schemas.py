"""What goes over the wire to sign in."""

from holdfast.apps.identity.wire import Email, Input, PasswordText


class LoginIn(Input):
    email: Email
    password: PasswordText
