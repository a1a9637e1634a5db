package contract

import (
	"io"
	"slices"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/breakerhttp/breakerhttp"
)

// upload lets base begin to read a request's body, or gives it some of it.
func (mc *machine) upload(t *rapid.T) {
	x := mc.pending[drawIndex(t, mc.pending)]
	if mc.now() == x.deadline {
		t.Skip("whether the deadline has passed just then is another question")
	}
	body := x.upload
	if body.got.err != nil {
		t.Skip("base has read all of it")
	}
	if !body.reading {
		body.begin(x.asSent.Body, mc.now())
		synctest.Wait()
		return
	}
	if body.passed(x.deadline, mc.now()) {
		t.Skip("base has given the request up")
	}
	body.next <- rapid.SampledFrom([]chunk{{1, nil}, {1, nil}, {0, io.EOF}, {1, io.EOF}, {0, errOwn}}).Draw(t, "chunk")
	synctest.Wait()
}

// read lets the caller begin to read a response's body, or ends a Read that waits.
func (mc *machine) read(t *rapid.T) {
	x := mc.bodies[drawIndex(t, mc.bodies)]
	if mc.now() == x.deadline {
		t.Skip("whether the deadline has passed just then is another question")
	}
	if !x.download.reading {
		x.download.begin(x.gotResp.Body, mc.now())
		synctest.Wait()
		return
	}
	mc.endRead(t, x)
}

// readAtOnce lets the caller read what the host sends at once.
func (mc *machine) readAtOnce(t *rapid.T) {
	x := mc.bodies[drawIndex(t, mc.bodies)]
	if x.download.reading {
		t.Skip("another Read waits")
	}
	x.download.begin(x.gotResp.Body, mc.now())
	synctest.Wait()
	mc.endRead(t, x)
}

func (mc *machine) endRead(t *rapid.T, x *exchange) {
	body := x.download
	chunks := []chunk{{0, io.ErrUnexpectedEOF}, {0, errReset}}
	if !body.passed(x.deadline, mc.now()) {
		if body.length < 0 || body.read < body.length {
			chunks = append(chunks, chunk{1, nil})
		}
		if body.length < 0 || body.read == body.length {
			chunks = append(chunks, chunk{0, io.EOF})
		}
		if body.length < 0 || body.read == body.length-1 {
			chunks = append(chunks, chunk{1, io.EOF})
		}
	}
	c := rapid.SampledFrom(chunks).Draw(t, "chunk")
	mc.user.during(func() { body.next <- c })
	if mc.user.broke != "" {
		if !mc.user.brokenOff(body.panicked) {
			t.Fatalf("Read: the %s has broken off: got %v, panic %v", mc.user.broke, body.got, body.panicked)
		}
	} else if body.got != c || body.panicked != nil {
		t.Fatalf("Read returned %v, panic %v, want %v", body.got, body.panicked, c)
	}
	if c.err != nil {
		mc.endBody(x, x.verdictOnBody(c.err, mc.opinionated, mc.now()))
	}
}

// close lets the caller close a response's body, also while a Read waits.
func (mc *machine) close(t *rapid.T) {
	x := mc.bodies[drawIndex(t, mc.bodies)]
	mc.do(t, func() { _ = x.gotResp.Body.Close() })
	if !x.download.closed {
		t.Fatal("Close does not reach the body")
	}
	mc.endBody(x, success)
}

// endBody tells the model how a body has ended; and reads on, which must not matter.
func (mc *machine) endBody(x *exchange, v verdict) {
	mc.bodies = slices.DeleteFunc(mc.bodies, func(y *exchange) bool { return y == x })
	_ = x.download.Close()
	_, _ = x.gotResp.Body.Read(make([]byte, 1))
	switch {
	case !x.judged || mc.user.broke == "classifier":
	case v.outcome == breakerhttp.Success:
		mc.model.bodyEnded(x.call)
	case v.outcome == breakerhttp.Failure:
		mc.model.bodyFailed(x.call, mc.now(), v)
	}
}
