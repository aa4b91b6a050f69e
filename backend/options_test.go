package backend

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/ami"
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

func TestOriginateTimeout(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": defaultRing, "x": defaultRing, "-": defaultRing, " 1500": 1500 * time.Millisecond, "1500abc": 1500 * time.Millisecond,
		"0": 0, "-1": maxRing, "2147483647": maxRing, "99999999999": maxRing, "-99999999999": maxRing,
	} {
		if got := originateTimeout(ami.NewAction("Timeout: " + text)); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
