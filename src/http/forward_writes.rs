//! Streams around another stream: the methods of `AsyncWrite` that only call those of the stream inside.

/// Implements methods of `AsyncWrite`, or `all`, by those of the stream at a place, as in `forward_writes!(|this| this.tcp; all)`.
macro_rules! forward_writes {
    (|$this:ident| $inner:expr; all) => {
        crate::http::forward_writes::forward_writes! {
            |$this| $inner; poll_write, poll_write_vectored, is_write_vectored, poll_flush, poll_shutdown
        }
    };
    (|$this:ident| $inner:expr; $($method:ident),+) => {
        $(crate::http::forward_writes::forward_writes! { @ $method $this $inner })+
    };
    (@ is_write_vectored $this:ident $inner:expr) => {
        fn is_write_vectored(&self) -> bool {
            let $this = self;
            ($inner).is_write_vectored()
        }
    };
    (@ poll_write $this:ident $inner:expr) => {
        crate::http::forward_writes::forward_writes! { @@ poll_write (bytes: &[u8]) -> usize; $this $inner }
    };
    (@ poll_write_vectored $this:ident $inner:expr) => {
        crate::http::forward_writes::forward_writes! {
            @@ poll_write_vectored (slices: &[std::io::IoSlice<'_>]) -> usize; $this $inner
        }
    };
    (@ $method:ident $this:ident $inner:expr) => {
        crate::http::forward_writes::forward_writes! { @@ $method () -> (); $this $inner }
    };
    (@@ $method:ident ($($argument:ident: $type:ty)?) -> $result:ty; $this:ident $inner:expr) => {
        fn $method(
            self: std::pin::Pin<&mut Self>,
            context: &mut std::task::Context<'_>,
            $($argument: $type)?
        ) -> std::task::Poll<std::io::Result<$result>> {
            let $this = self.get_mut();
            std::pin::Pin::new(&mut $inner).$method(context, $($argument)?)
        }
    };
}

pub(crate) use forward_writes;
