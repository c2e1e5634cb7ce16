//go:build !windows

package report

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"berth/check"
	"berth/internal/imagetest"
)

// browser is a tab of a Chromium without a window, driven over its DevTools protocol on a
// pair of pipes (chromedevtools.github.io/devtools-protocol).
type browser struct {
	t       *testing.T
	in      *os.File
	out     *bufio.Reader
	session string
	last    int
	// complaints are what the console says that is wrong, dialogs that opened among it.
	complaints []string
	loaded     bool
}

// browse opens a page that was written to a file.
func browse(t *testing.T, page []byte) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		imagetest.Missing(t, "chromium", "on Debian: apt-get install chromium")
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// Without a sandbox, because tests run as root and in containers; the page is ours.
	cmd := exec.Command(path, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-extensions", "--disable-component-update", "--disable-background-networking",
		"--remote-debugging-pipe", "--user-data-dir="+filepath.Join(dir, "profile"), "about:blank")
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // it reads from 3 and writes to 4
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	b := &browser{t: t, in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		// It is asked to go, so that it has written all its files before they are removed.
		if _, err := in.WriteString(`{"id":0,"method":"Browser.close"}` + "\x00"); err != nil {
			t.Error(err)
		}
		if _, err := io.Copy(io.Discard, b.out); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		in.Close()
		out.Close()
	})
	name := filepath.Join(dir, "page.html")
	if err := os.WriteFile(name, page, 0o600); err != nil {
		t.Fatal(err)
	}
	tab := b.call("Target.createTarget", map[string]any{"url": "about:blank"})
	b.session, _ = b.call("Target.attachToTarget", map[string]any{"targetId": tab["targetId"], "flatten": true})["sessionId"].(string)
	for _, domain := range []string{"Page.enable", "Runtime.enable", "Log.enable"} {
		b.call(domain, nil)
	}
	b.call("Page.navigate", map[string]any{"url": "file://" + name})
	for !b.loaded {
		b.message()
	}
	return b
}

type message struct {
	ID     int
	Method string
	Params struct {
		Entry            struct{ Text string }
		ExceptionDetails struct{ Text string }
		Message          string
	}
	Result map[string]any
	Error  *struct{ Message string }
}

// message reads the next one, and notes what happened.
func (b *browser) message() *message {
	b.t.Helper()
	raw, err := b.out.ReadBytes(0)
	if err != nil {
		b.t.Fatalf("the browser is gone: %v", err)
	}
	m := new(message)
	if err := json.Unmarshal(raw[:len(raw)-1], m); err != nil {
		b.t.Fatal(err)
	}
	switch m.Method {
	case "Log.entryAdded":
		b.complaints = append(b.complaints, m.Params.Entry.Text)
	case "Runtime.exceptionThrown":
		b.complaints = append(b.complaints, m.Params.ExceptionDetails.Text)
	case "Page.javascriptDialogOpening":
		b.complaints = append(b.complaints, "dialog: "+m.Params.Message)
	case "Page.loadEventFired":
		b.loaded = true
	}
	return m
}

func (b *browser) call(method string, params map[string]any) map[string]any {
	b.t.Helper()
	b.last++
	request := map[string]any{"id": b.last, "method": method}
	if params != nil {
		request["params"] = params
	}
	if b.session != "" {
		request["sessionId"] = b.session
	}
	raw, err := json.Marshal(request)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.in.Write(append(raw, 0)); err != nil {
		b.t.Fatal(err)
	}
	for {
		m := b.message()
		if m.ID != b.last {
			continue
		}
		if m.Error != nil {
			b.t.Fatalf("%s: %s", method, m.Error.Message)
		}
		return m.Result
	}
}

// eval is the value of an expression on the page, as text.
func (b *browser) eval(expression string) string {
	b.t.Helper()
	answer := b.call("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true})
	if wrong, ok := answer["exceptionDetails"]; ok {
		b.t.Fatalf("%s: %v", expression, wrong)
	}
	return fmt.Sprint(answer["result"].(map[string]any)["value"])
}

func (b *browser) press(key string, code int, text string) {
	b.t.Helper()
	for _, kind := range []string{"keyDown", "keyUp"} {
		params := map[string]any{"type": kind, "key": key, "windowsVirtualKeyCode": code}
		if kind == "keyDown" && text != "" {
			params["text"] = text
		}
		b.call("Input.dispatchKeyEvent", params)
	}
}

func (b *browser) want(expression, want string) {
	b.t.Helper()
	if got := b.eval(expression); got != want {
		b.t.Errorf("%s is %q, want %q", expression, got, want)
	}
}

// TestHTMLInABrowser uses the page as people do, with the keyboard alone.
func TestHTMLInABrowser(t *testing.T) {
	b := browse(t, written(t, "html", deployment(t)))
	const shown = `document.querySelectorAll("article:not([hidden]):not(:is([hidden], details:not([open])) *)").length`
	b.want(`document.getElementById("filter").hidden`, "false")
	all := b.eval(shown)
	b.press("Tab", 9, "")
	b.want(`document.activeElement.className`, "skip")
	b.press("/", 191, "/")
	b.want(`document.activeElement.id`, "text")
	b.call("Input.insertText", map[string]any{"text": "WORKER default"})
	b.want(shown, "1")
	b.want(`document.getElementById("shown").textContent`, "1 of 13 findings")
	b.want(`document.querySelectorAll(".row:not([hidden])").length`, "0")
	b.press("Escape", 27, "")
	b.want(shown, all)
	b.press("Tab", 9, "")
	b.want(`document.activeElement.value`, "error")
	b.press(" ", 32, " ")
	b.want(`document.querySelectorAll("article.error:not([hidden])").length`, "0")
	b.press(" ", 32, " ")
	b.want(shown, all)

	// A mark of the matrix opens its proof.
	b.want(`document.querySelectorAll("details.proof[open]").length`, "0")
	b.eval(`new Promise((done) => { addEventListener("hashchange", () => setTimeout(done)); document.querySelector("a.pill.error[href]").click(); })`)
	b.want(`document.querySelector("details.proof[open]").id === location.hash.slice(1)`, "true")

	b.want(`new Promise((done) => {
		const button = document.querySelector(".copy");
		new MutationObserver(() => done(button.textContent)).observe(button, {childList: true, characterData: true, subtree: true});
		button.click();
	})`, "Copied")
	if len(b.complaints) > 0 {
		t.Errorf("the console says %q", b.complaints)
	}
}

// TestHTMLIsLegible looks at colours in light and dark, at a narrow window and at paper.
func TestHTMLIsLegible(t *testing.T) {
	b := browse(t, written(t, "html", deployment(t)))
	b.eval(`for (const one of document.querySelectorAll("details")) one.open = true`)
	for _, scheme := range []string{"light", "dark"} {
		b.call("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]any{"name": "prefers-color-scheme", "value": scheme}}})
		// The contrast that WCAG 2.1 asks for at level AA, of all text against what is behind it.
		if low := b.eval(lowContrast); low != "" {
			t.Errorf("%s: too little contrast:\n%s", scheme, low)
		}
	}
	b.call("Emulation.setEmulatedMedia", map[string]any{"media": "print"})
	b.want(`getComputedStyle(document.getElementById("filter")).display`, "none")
	b.want(`[...document.querySelectorAll(".copy")].every((one) => getComputedStyle(one).display === "none")`, "true")
	b.call("Emulation.setEmulatedMedia", map[string]any{"media": ""})
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": false})
	b.want(`document.documentElement.scrollWidth <= innerWidth`, "true")
	if len(b.complaints) > 0 {
		t.Errorf("the console says %q", b.complaints)
	}
}

// lowContrast lists the texts that have less than 4.5 to 1, without those that are hidden
// from everybody who reads.
const lowContrast = `(() => {
	const channels = (color) => (color.match(/[\d.]+/g) ?? []).map(Number);
	const luminance = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
		.reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
	const low = new Set();
	const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (texts.nextNode()) {
		const element = texts.currentNode.parentElement;
		if (!texts.currentNode.textContent.trim() || element.closest("script, .none") || !element.checkVisibility()) continue;
		let behind = element;
		let ground = [0, 0, 0, 0];
		for (; behind && (ground.length === 4 && ground[3] === 0); behind = behind.parentElement) ground = channels(getComputedStyle(behind).backgroundColor);
		const [a, b] = [luminance(channels(getComputedStyle(element).color)), luminance(ground)].sort((x, y) => y - x);
		const ratio = (a + .05) / (b + .05);
		if (ratio < 4.5) low.add(ratio.toFixed(2) + " " + element.tagName + "." + element.className + " " + texts.currentNode.textContent.trim().slice(0, 40));
	}
	return [...low].join("\n");
})()`

// TestHTMLRunsNothingForeign opens a page on which everything foreign is hostile, and one
// without anything.
func TestHTMLRunsNothingForeign(t *testing.T) {
	for _, report := range []*check.Report{hostile(t), {}} {
		b := browse(t, written(t, "html", report))
		b.want(`document.scripts.length`, "1")
		b.want(`document.getElementById("filter").hidden`, "false")
		b.want(`document.querySelectorAll("[onerror], img, iframe, a[href^=javascript]").length`, "0")
		if len(b.complaints) > 0 {
			t.Errorf("the console says %q", b.complaints)
		}
	}
}
