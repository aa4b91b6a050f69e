package backend

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
)

// A PBX that refuses to list its channels has not said that it has none: its names
// are not known until it lists them, and it is asked less and less often.
func TestNamesThatAreNotListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{Idle: 2}, Options{})
		w.raw("CoreShowChannels", "Response: Error|ActionID: $ID|Message: Could not get cached channels||")
		w.raw("ConfbridgeListRooms", "Response: Error|ActionID: $ID|Message: No active conferences.||")
		w.start()
		w.wantLog("warn", "the names on the PBX are not known", "CoreShowChannels", "Could not get cached channels")
		time.Sleep(time.Hour)
		if n := len(w.received("CoreShowChannels")); w.b.Names().Complete() || n < 10 || n > 20 {
			t.Errorf("asked %d times in an hour, complete: %v", n, w.b.Names().Complete())
		}
		w.pbx.Handle("CoreShowChannels", nil)
		time.Sleep(2 * listNamesSeldom)
		if !w.b.Names().Complete() || w.b.Names().Len() != 2 {
			t.Errorf("complete: %v, %d channels", w.b.Names().Complete(), w.b.Names().Len())
		}
		w.stop()
	})
}

// However often the PBX says that it has reloaded something, it is asked for our
// rights once.
func TestReloadsOfThePBX(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{})
		w.start()
		w.pbx.Forget()
		_, open := w.gate("Command")
		for range 1000 {
			w.pbx.Event("Reload", ami.ClassSystem, "Module", "x", "Status", "0")
		}
		time.Sleep(5 * time.Second)
		w.b.mu.Lock()
		waiting := len(w.b.house.waiting)
		w.b.mu.Unlock()
		if n := len(w.received("Command")); n != 1 || waiting > 1 {
			t.Errorf("%d commands, %d actions of ours wait", n, waiting)
		}
		open()
		w.stop()
	})
}
