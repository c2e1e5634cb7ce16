package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"berth/check"
)

// inline are the script and the style, which are no markup.
var inline = regexp.MustCompile(`(?s)<(style|script)>(.*?)</(?:style|script)>`)

// parseHTML returns all elements of a page, which must be well formed: what is opened is
// closed, no ID is there twice, and every link leads somewhere on the page.
func parseHTML(t *testing.T, page []byte) []xml.StartElement {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(inline.ReplaceAll(page, []byte("<$1></$1>"))))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	var elements []xml.StartElement
	var open, ids, links []string
	for {
		token, err := d.RawToken()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			elements = append(elements, e.Copy())
			if !slices.Contains(xml.HTMLAutoClose, e.Name.Local) {
				open = append(open, e.Name.Local)
			}
			for _, a := range e.Attr {
				switch a.Name.Local {
				case "id":
					if slices.Contains(ids, a.Value) {
						t.Errorf("the ID %s is there twice", a.Value)
					}
					ids = append(ids, a.Value)
				case "href":
					links = append(links, a.Value)
				}
			}
		case xml.EndElement:
			if len(open) == 0 || open[len(open)-1] != e.Name.Local {
				t.Fatalf("</%s> closes %v", e.Name.Local, open)
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		t.Errorf("never closed: %v", open)
	}
	for _, link := range links {
		if !slices.Contains(ids, strings.TrimPrefix(link, "#")) {
			t.Errorf("a link leads to %q, which is not there", link)
		}
	}
	return elements
}

func TestHTML(t *testing.T) {
	for name, report := range map[string]*check.Report{"nothing": {}, "deployment": deployment(t), "foreign": hostile(t)} {
		t.Run(name, func(t *testing.T) {
			page := written(t, "html", report)
			scripts := 0
			for _, e := range parseHTML(t, page) {
				if e.Name.Local == "script" || e.Name.Local == "style" {
					scripts++
				}
				for _, a := range e.Attr {
					key := a.Name.Local
					if strings.HasPrefix(key, "on") || key == "style" || key == "src" || key == "href" && !strings.HasPrefix(a.Value, "#") {
						t.Errorf("<%s %s=%q>: nothing may be loaded or run from an attribute", e.Name.Local, key, a.Value)
					}
				}
			}
			if scripts != 2 {
				t.Errorf("%d scripts and styles", scripts)
			}
			if bytes.ContainsAny(page, "\x1b\x07") {
				t.Error("control characters")
			}
		})
	}
}

// TestHTMLPolicy makes sure that the policy lets through exactly what is on the page.
func TestHTMLPolicy(t *testing.T) {
	page := string(written(t, "html", deployment(t)))
	for _, element := range []string{"style", "script"} {
		text := regexp.MustCompile(`(?s)<` + element + `>(.*?)</` + element + `>`).FindStringSubmatch(page)
		sum := sha256.Sum256([]byte(text[1]))
		want := element + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "';"
		if !strings.Contains(page, want) {
			t.Errorf("the policy has no %s", want)
		}
	}
	if !strings.Contains(page, `content="default-src 'none';`) {
		t.Error("the policy lets more through than it names")
	}
}

func TestHTMLSaysInAWordHowItIs(t *testing.T) {
	one := func(v check.Verdict, severity check.Severity, unknowns ...string) *check.Report {
		r := check.Result{Subject: &check.Subject{Name: "app:v1"}, Verdict: v, Unknowns: unknowns}
		if severity != "" {
			r.Findings = []check.Finding{{Rule: "BER001", Severity: severity, Message: "m"}}
		}
		return &check.Report{Results: []check.Result{r}}
	}
	for _, c := range []struct {
		report *check.Report
		want   string
	}{
		{&check.Report{}, "No image was checked"},
		{one(check.Runs, ""), "Everything runs"},
		{one(check.Runs, check.Notice), "Everything runs"},
		{one(check.Runs, check.Warning), "It runs, with 1 warning"},
		{one(check.Runs, check.Warning, "something"), "berth could not tell everything"},
		{one(check.Unknown, "", "something"), "berth could not tell everything"},
		{one(check.RunsNot, check.Error, "something"), "1 of 1 image will not run"},
		{oneFinding("m"), "1 error"},
	} {
		if got := pageOf(outlineOf(c.report), "").Headline; got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
