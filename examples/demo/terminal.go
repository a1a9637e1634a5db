package main

import (
	"context"
	"io"
	"os"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"golang.org/x/term"
)

const refresh = 100 * time.Millisecond

// isTerminal reports whether out can show a picture that moves.
func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	return ok && term.IsTerminal(int(file.Fd())) && os.Getenv("TERM") != "dumb"
}

// plain writes the story line by line until done, and then the picture.
func (s *show) plain(out io.Writer, done <-chan struct{}) {
	ticker := time.NewTicker(refresh)
	defer ticker.Stop()
	for over := false; !over; {
		select {
		case <-ticker.C:
		case <-done:
			over = true
		}
		for _, e := range s.take() {
			_, _ = lipgloss.Fprintln(out, e.line(plainWidth))
		}
	}
	_, _ = lipgloss.Fprintln(out, "\n"+s.picture(plainWidth))
}

const plainWidth = 100

// live shows the picture at the bottom of a terminal until done, and the story
// above it.
func (s *show) live(out io.Writer, interrupt context.CancelFunc, done <-chan struct{}, opts ...tea.ProgramOption) error {
	opts = append(opts, tea.WithOutput(out), tea.WithoutSignalHandler())
	_, err := tea.NewProgram(screen{s, 80, interrupt, done}, opts...).Run()
	return err
}

// A screen is the tea.Model of a show.
type screen struct {
	*show
	width     int
	interrupt context.CancelFunc
	done      <-chan struct{}
}

type tick time.Time

func nextTick() tea.Cmd { return tea.Tick(refresh, func(t time.Time) tea.Msg { return tick(t) }) }

func (s screen) Init() tea.Cmd { return nextTick() }

func (s screen) View() tea.View { return tea.NewView("\n" + s.picture(s.width) + "\n") }

func (s screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		s.width = msg.Width
	case tea.KeyPressMsg:
		if key := msg.String(); key == "ctrl+c" || key == "q" {
			s.interrupt()
		}
	case tick:
		next := nextTick()
		select {
		case <-s.done:
			next = tea.Quit
		default:
		}
		if news := s.lines(); news != "" {
			next = tea.Sequence(tea.Println(news), next)
		}
		return s, next
	}
	return s, nil
}

func (s screen) lines() string {
	var lines []string
	for _, e := range s.take() {
		lines = append(lines, e.line(s.width))
	}
	return strings.Join(lines, "\n")
}
