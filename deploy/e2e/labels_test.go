package e2e

// labels identify a series, an alert or a metric.
type labels map[string]string

// in reports whether all labels of l are in other.
func (l labels) in(other labels) bool {
	for name, value := range l {
		if other[name] != value {
			return false
		}
	}
	return true
}
