package dashboard

import (
	"bytes"
	"embed"
	"net/http"
	"path"
)

//go:embed assets
var assets embed.FS

// page returns a handler of the page, which shows controls or not.
func page(controls bool) http.Handler {
	p := embedded("page.html")
	if controls {
		p = bytes.Replace(p, []byte(`data-controls="no"`), []byte(`data-controls="yes"`), 1)
	}
	return content(p, "text/html; charset=utf-8")
}

// parts returns the names of the files that the page loads, and their content types. The types do
// not depend on those that this machine knows.
func parts() map[string]string {
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	files, err := assets.ReadDir("assets")
	if err != nil {
		panic(err) // embed makes this impossible
	}
	found := map[string]string{}
	for _, f := range files {
		if contentType, ok := types[path.Ext(f.Name())]; ok {
			found[f.Name()] = contentType
		}
	}
	return found
}

func embedded(name string) []byte {
	b, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic(err) // embed makes this impossible
	}
	return b
}

// content returns a handler that answers with b.
func content(b []byte, contentType string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(b) // a client that is gone misses nothing
	})
}
