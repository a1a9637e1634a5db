package browsertest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

const many = 1000

// scroll scrolls through the whole list, a screen in three frames, and yields
// the time between frames in milliseconds, that of tasks over 50, the most rows
// in the page, and how often a part of the list that could be seen was empty.
const scroll = `(async () => {
	const frames = [], tasks = [];
	const observer = new PerformanceObserver((list) => tasks.push(...list.getEntries().map((e) => e.duration)));
	observer.observe({type: "longtask"});
	let rows = 0, empty = 0, last = performance.now();
	for (let y = 0; y < document.body.scrollHeight; y += innerHeight / 3) {
		scrollTo(0, y);
		await new Promise(requestAnimationFrame);
		await new Promise((done) => setTimeout(done));
		frames.push(performance.now() - last);
		last = performance.now();
		rows = Math.max(rows, document.querySelectorAll("#rows tr").length);
		const list = document.querySelector("#rows").getBoundingClientRect();
		for (const at of [0.1, 0.5, 0.9].map((part) => part * innerHeight)) {
			if (at > list.top && at < list.bottom && !document.elementFromPoint(innerWidth / 3, at).closest("tr")) empty++;
		}
	}
	frames.sort((a, b) => a - b);
	return {
		median: frames[frames.length >> 1], slow: frames[Math.floor(frames.length * 0.99)], longest: frames.at(-1), frames: frames.length,
		tasks: tasks.length, longestTask: Math.max(0, ...tasks), rows, empty,
	};
})()`

// TestScale: a thousand circuits that all change every second can be scrolled
// through, at a desk and on a phone.
func TestScale(t *testing.T) {
	c := newCircuits(t).serve()
	touch := func() {
		for i := range many {
			c.succeed(fmt.Sprintf("http://h%03d.test", i))
		}
	}
	touch()
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for ctx.Err() == nil {
			touch()
			<-ticker.C
		}
	})
	for _, l := range []look{{width: 1280, height: 800}, {width: 390, height: 844}} {
		t.Run(fmt.Sprint(l.width), func(t *testing.T) {
			b := open(t, c.url, l)
			b.wait(fmt.Sprintf(`document.querySelector("#count-all").textContent === "1,000" && document.querySelector("#circuits").ariaRowCount === "%d"`, many+1))
			b.checkScroll()
			b.wait(says("#rows tr:last-child .key", "h999"))
		})
	}
}

func (b *tab) checkScroll() {
	b.t.Helper()
	got := eval[struct {
		Median, Slow, Longest float64 // frames, in milliseconds
		Frames, Tasks         int
		LongestTask           float64
		Rows, Empty           int
	}](b, scroll)
	b.t.Logf("%+v", got)
	if got.Frames < 100 {
		b.t.Errorf("got %d frames, want the whole list scrolled through", got.Frames)
	}
	if got.Rows > 60 {
		b.t.Errorf("got %d rows in the page, want those in sight and a few", got.Rows)
	}
	if got.Empty > 0 {
		b.t.Errorf("the list was empty at %d places", got.Empty)
	}
	// On an idle machine 17 and 33, and no task over 50. With ten times as much to do as there are
	// cores 40 and 600: a single task may then be of any length, so that is only logged.
	if got.Median > 200 || got.Slow > 2000 {
		b.t.Errorf("got %.0f ms between frames, one in a hundred %.0f, want 200 and 2000 at most", got.Median, got.Slow)
	}
}
