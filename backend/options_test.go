package backend

import (
	"fmt"
	"strings"
	"testing"
)

func TestOptionsHideTheirSecret(t *testing.T) {
	o := Options{Name: "east", Host: "10.0.0.5", Secret: "h0rse"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
		for _, value := range []any{o, &o, []Options{o}, struct{ O Options }{o}} {
			if text := fmt.Sprintf(verb, value); strings.Contains(text, "h0rse") || !strings.Contains(text, "east") {
				t.Errorf("%s of %T: %s", verb, value, text)
			}
		}
	}
}
