//! The memory for the headers of a request.

use std::mem;

use actix_web::http::header::HeaderMap;

/// The number of header fields that a request usually has at most: as many as the smaller map has room for, in 16 places.
const USUAL_FIELDS: usize = 14;

/// Replaces the map of a request's headers by a smaller one if that holds them.
///
/// actix makes a map of 32 places, each of 208 bytes, and fills it again for a later request. So one of half the size, once made, stays.
pub(crate) fn fit(fields: &mut HeaderMap) {
    if fields.capacity() <= USUAL_FIELDS || fields.len_keys() > USUAL_FIELDS {
        return;
    }
    let mut fitting = HeaderMap::with_capacity(USUAL_FIELDS);
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
    fn the_usual_number_of_fields_gets_a_smaller_map_which_later_requests_use_again() {
        let mut request = Request::new();
        let large = request.headers().capacity();
        add(request.headers_mut(), USUAL_FIELDS);
        fit(request.headers_mut());
        let small = request.headers().capacity();
        assert!(small <= large / 2, "{small} of {large}");
        assert_eq!(request.headers().len(), 2 * USUAL_FIELDS);
        for name in request.headers().keys() {
            assert!(request.headers().get_all(name).eq(["first", "second"]), "{name} is in its order");
        }
        drop(request);

        let mut next = Request::new();
        assert_eq!((next.headers().capacity(), next.headers().len()), (small, 0), "actix has kept the map");
        add(next.headers_mut(), USUAL_FIELDS);
        assert_eq!(next.headers().capacity(), small, "it need not grow");
        add(next.headers_mut(), USUAL_FIELDS + 1);
        fit(next.headers_mut());
        assert_eq!(next.headers().len_keys(), USUAL_FIELDS + 1, "more fields stay where they are");
    }
}
