//! The memory for the headers of a request.

use std::mem;

use actix_web::http::header::HeaderMap;

/// The numbers of header fields that maps of 8 and of 16 places have room for. The first suffices for MLflow's client, which
/// sends six, and the second usually suffices for browsers.
const SIZES: [usize; 2] = [7, 14];

/// Replaces the map of a request's headers by the smallest one that holds them.
///
/// actix makes a map of 32 places, each of 208 bytes, and fills it again for a later request. So a smaller one, once made, stays
/// until a request has more fields than it holds.
pub(crate) fn fit(fields: &mut HeaderMap) {
    if fields.capacity() <= SIZES[1] {
        return;
    }
    let Some(size) = SIZES.into_iter().find(|size| fields.len_keys() <= *size) else { return };
    let mut fitting = HeaderMap::with_capacity(size);
    for (name, value) in mem::take(fields) {
        fitting.append(name, value);
    }
    *fields = fitting;
}

#[cfg(test)]
mod tests {
    use actix_http::{HttpMessage as _, Request};
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn add(fields: &mut HeaderMap, count: usize) {
        for number in 0..count {
            let name = HeaderName::try_from(format!("x-{number}")).expect("a name");
            fields.append(name.clone(), HeaderValue::from_static("first"));
            fields.append(name, HeaderValue::from_static("second"));
        }
    }

    #[test]
    fn a_request_gets_the_smallest_map_that_holds_its_fields() {
        for size in SIZES {
            let mut fields = HeaderMap::with_capacity(16);
            add(&mut fields, size);
            fit(&mut fields);
            assert_eq!((fields.capacity(), fields.len()), (size, 2 * size));
            for name in fields.keys() {
                assert!(fields.get_all(name).eq(["first", "second"]), "{name} is in its order");
            }
        }
    }

    #[test]
    fn later_requests_use_the_map_again_and_it_grows_with_their_fields() {
        let mut request = Request::new();
        add(request.headers_mut(), SIZES[0]);
        fit(request.headers_mut());
        drop(request);

        let mut next = Request::new();
        assert_eq!((next.headers().capacity(), next.headers().len()), (SIZES[0], 0), "actix has kept the map");
        for size in SIZES {
            add(next.headers_mut(), size);
            fit(next.headers_mut());
            assert_eq!(next.headers().capacity(), size);
        }
        add(next.headers_mut(), SIZES[1] + 1);
        fit(next.headers_mut());
        assert_eq!(next.headers().len_keys(), SIZES[1] + 1, "more fields stay where they are");
    }
}
