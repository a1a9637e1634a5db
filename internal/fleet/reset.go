package fleet

// Reset makes this process ignore the record as it is, until there is a newer one. Nothing is
// written over it.
func (m *Member) Reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wasReset = m.now()
	m.lease = lease{}
	m.ignoreRecord()
}
