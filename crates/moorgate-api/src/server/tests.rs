//! Against a real control plane, through real sockets.
