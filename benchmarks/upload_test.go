package main

import (
	"testing"
	"time"
)

// TestUploads: a breaker costs no write more.
func TestUploads(t *testing.T) {
	uploads, err := uploaded(10 * time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range uploads {
		if got, want := u.writes[nameOurs], u.writes[nameBase]; got != want || want < 1 {
			t.Errorf("%s: got %v writes a request, want %v as without the breaker", u.name, got, want)
		}
		for _, s := range u.took.Subjects {
			if s.Failed > 0 {
				t.Errorf("%s, %s: %d of %d requests failed", u.name, s.Name, s.Failed, s.Sent)
			}
		}
	}
}
