package report

import (
	"encoding/xml"
	"testing"

	"berth/check"
)

// TestJUnit reads it back, and holds its counts against its cases.
func TestJUnit(t *testing.T) {
	for name, report := range map[string]*check.Report{"nothing": {}, "deployment": deployment(t), "foreign": hostile(t)} {
		t.Run(name, func(t *testing.T) {
			var doc junitSuites
			if err := xml.Unmarshal(written(t, "junit", report), &doc); err != nil {
				t.Fatal(err)
			}
			again := junitSuites{}
			for _, s := range doc.Suites {
				counted := junitSuite{Name: s.Name}
				for _, c := range s.Cases {
					counted.add(c)
				}
				if counted.junitCount != s.junitCount {
					t.Errorf("%s says %+v and has %+v", s.Name, s.junitCount, counted.junitCount)
				}
				again.add(counted)
			}
			if again.junitCount != doc.junitCount {
				t.Errorf("it says %+v and has %+v", doc.junitCount, again.junitCount)
			}
			if name == "deployment" && doc.junitCount != (junitCount{Tests: 13, Failures: 5, Errors: 2, Skipped: 2}) {
				t.Errorf("%+v", doc.junitCount)
			}
		})
	}
}
