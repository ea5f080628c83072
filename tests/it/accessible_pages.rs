//! The pages of the appliance for people with forced colours, with more contrast, with less motion, and with a keyboard only.

use std::path::PathBuf;

use serde_json::json;

use crate::support::browser::Browser;
use crate::support::personal::{PAGE, PersonalFile};
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;

/// Media features with their values.
type Preferences = &'static [(&'static str, &'static str)];

/// The name of a group of people, their preferences, and the contrast that texts have then by the Web Content Accessibility Guidelines.
const PEOPLE: [(&str, Preferences, f64); 3] = [
    ("usual", &[], 4.5),
    ("contrast", &[("prefers-contrast", "more"), ("prefers-reduced-motion", "reduce")], 7.0),
    ("forced", &[("forced-colors", "active")], 7.0),
];
/// The phone comes first: pictures keep the background of forced colours until the window becomes or ceases to be a phone's.
const LOOKS: [(&str, (u32, u32), &str); 3] =
    [("phone", (390, 844), "light"), ("light", (1280, 900), "light"), ("dark", (1280, 900), "dark")];

/// Returns what is wrong with the page that the browser shows, for a contrast of texts of at least `limit`.
fn problems(browser: &mut Browser, limit: f64, is_forced: bool) -> Vec<String> {
    const AUDIT: &str = r#"((limit, isForced) => {
        const found = new Set();
        const name = (e) => `<${e.tagName.toLowerCase()} ${e.className.baseVal ?? e.className}> ${e.textContent.trim().slice(0, 30)}`;
        const parts = (text) => (text.match(/[\d.]+/g) || []).map(Number);
        const isSeen = (e) => e.getClientRects().length > 0 && getComputedStyle(e).visibility !== 'hidden'
            && !e.closest('.hidden, noscript') && !(e.closest('.skip') && e !== document.activeElement);
        const behind = (e) => {
            for (; e; e = e.parentElement) {
                const colour = parts(getComputedStyle(e).backgroundColor);
                if (colour.length === 3 || colour[3] > 0) return colour;
            }
            return [255, 255, 255];
        };
        const light = ([r, g, b]) => {
            const [x, y, z] = [r, g, b].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
            return 0.2126 * x + 0.7152 * y + 0.0722 * z;
        };
        const contrast = (a, b) => {
            const [high, low] = [light(a), light(b)].sort((x, y) => y - x);
            return (high + 0.05) / (low + 0.05);
        };
        const all = [...document.body.querySelectorAll('*')].filter(isSeen);
        for (const e of all) {
            const style = getComputedStyle(e);
            if (style.transitionDuration !== '0s' || style.animationName !== 'none') found.add(`moves: ${name(e)}`);
            if (![...e.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
            const colour = parts(e.closest('svg') ? style.fill : style.color);
            const ratio = contrast(colour, behind(e));
            if (ratio < limit) found.add(`text ${ratio.toFixed(1)}: ${name(e)}`);
        }
        for (const e of all.filter((e) => e.placeholder)) {
            const style = getComputedStyle(e, '::placeholder');
            const ratio = contrast(parts(style.color), behind(e));
            if (ratio < limit || style.opacity !== '1') found.add(`placeholder ${ratio.toFixed(1)}: ${e.placeholder}`);
        }
        const edged = 'button, .button, input:not([type=radio], [type=checkbox]), select' + (isForced ? ', .pill, .notice, .tile, .card, .token, .failures > li' : '');
        for (const e of all.filter((e) => e.matches(edged))) {
            const style = getComputedStyle(e);
            const isDrawn = style.borderTopStyle !== 'none' && parseFloat(style.borderTopWidth) >= 1;
            const ratio = Math.max(contrast(parts(style.borderTopColor), behind(e.parentElement)), contrast(behind(e), behind(e.parentElement)));
            if (!isDrawn || ratio < 3) found.add(`edge ${isDrawn ? ratio.toFixed(1) : 'none'}: ${name(e)}`);
        }
        const reached = 'a[href], button, input, select, summary, [tabindex="0"]';
        for (const e of [...document.body.querySelectorAll(reached)].filter((e) => e.getClientRects().length > 0)) {
            e.focus({ focusVisible: true, preventScroll: true });
            if (document.activeElement !== e) continue;
            const style = getComputedStyle(e);
            const ratio = contrast(parts(style.outlineColor), behind(e.parentElement));
            const isDrawn = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
            if (!isDrawn || ratio < 3) found.add(`focus ${isDrawn ? ratio.toFixed(1) : 'none'}: ${name(e)}`);
            e.blur();
        }
        if (document.documentElement.scrollWidth > window.innerWidth) found.add('wider than the window');
        return [...found];
    })"#;
    let found = browser.evaluate(&format!("{AUDIT}({limit}, {is_forced})"));
    found.as_array().unwrap().iter().map(|problem| problem.as_str().unwrap().to_owned()).collect()
}

/// Looks at the page that the browser shows as each person would, and takes pictures for people to look at.
fn look(browser: &mut Browser, page: &str, found: &mut Vec<String>) {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("accessible-pages");
    std::fs::create_dir_all(&directory).unwrap();
    for (person, preferences, limit) in PEOPLE {
        for (look, size, scheme) in LOOKS {
            browser.look_like_for(size, scheme, preferences);
            browser.picture(&directory.join(format!("{page}-{person}-{look}.png")));
            let problems = problems(browser, limit, person == "forced");
            found.extend(problems.into_iter().map(|problem| format!("{page}, {person}, {look}: {problem}")));
        }
    }
}

#[test]
#[ignore = "needs tests/run: Chromium"]
fn every_page_can_be_read_and_used_with_forced_colours_more_contrast_and_a_keyboard() {
    let (mut browser, mut found) = (Browser::start(), Vec::new());
    let upstream = Upstream::start(|request, wire| match request.target.as_str() {
        "/api/2.0/mlflow/experiments/search" => Err(wire.close()),
        _ => wire.answer("200 OK\r\nContent-Type: text/html", "<link rel=icon href=data:,><h1>MLflow</h1>"),
    });
    let (tokens, personal) = (TokenFile::new(), PersonalFile::new());
    let ada = tokens.add("ada", "read", &["--expires", "1d"]);
    let appliance = personal.builder(&upstream, &tokens).with_admin().start();
    let url = appliance.url();

    let has = |selector: &str| format!("document.readyState === 'complete' && !!document.querySelector('{selector}')");
    let sign_in = |browser: &mut Browser, token: &str| {
        browser.wait_for("document.activeElement.id === 'token'");
        browser.call("Input.insertText", &json!({"text": token}));
        browser.press("Enter");
    };
    browser.open(&format!("{url}/_appliance/login?next=%2F_appliance%2Ftokens"));
    browser.wait_for(&has("#token"));
    sign_in(&mut browser, "mlfa_wrong");
    browser.wait_for(&has("[role=alert]"));
    look(&mut browser, "sign-in", &mut found);
    browser.open(&format!("{url}/_appliance/login?next=%2F_appliance%2Ftokens"));
    browser.wait_for(&has("#token"));
    sign_in(&mut browser, &ada.text);
    browser.wait_for(&format!("location.pathname === '{PAGE}' && {}", has("#name")));
    browser.evaluate(
        "document.querySelector('#name').value = 'notebook'; isOld = true; document.querySelector('button.primary').click()",
    );
    browser.wait_for(&format!("!window.isOld && {}", has("#made")));
    look(&mut browser, "personal-tokens", &mut found);
    browser.open(&format!("{url}/_appliance/none"));
    browser.wait_for(&has("h1"));
    look(&mut browser, "error", &mut found);

    let fields = [("Authorization", &*ada.bearer())];
    for (path, status) in
        [("/api/2.0/mlflow/experiments/search", 502), ("/version", 200), ("/api/2.0/mlflow/webhooks", 403)]
    {
        assert_eq!(appliance.connect().request("GET", path, &fields, None).status, status, "{path}");
    }
    browser.open(&format!("http://{}/status", appliance.admin_address()));
    browser.wait_for(&has("#failures .bad"));
    browser.wait_for(&has("#callers .warn"));
    look(&mut browser, "status", &mut found);
    // Without a colour, a pressed button has to look different, too.
    for (person, preferences, _) in PEOPLE {
        browser.look_like_for((1280, 900), "light", preferences);
        let button = "getComputedStyle(document.querySelector('#pause'))";
        let background = format!("{button}.backgroundColor");
        let before = browser.evaluate(&background);
        browser.evaluate("document.querySelector('#pause').click()");
        if browser.evaluate(&background) == before {
            found.push(format!("status, {person}: a pressed button looks like another one"));
        }
        browser.evaluate("document.querySelector('#pause').click()");
    }
    let pills = "getComputedStyle(document.querySelector('#failures .bad')).borderTopWidth";
    browser.look_like_for((1280, 900), "light", &[("forced-colors", "active")]);
    let usual = "getComputedStyle(document.querySelector('#state')).borderTopWidth";
    if browser.evaluate(pills) == browser.evaluate(usual) {
        found.push("status, forced: what is bad looks like what is good".to_owned());
    }
    assert!(found.is_empty(), "{found:#?}");
}
