package client

import "io"

// Messages reads all messages of a stream of server-sent events, as name, id and data.
func Messages(r io.Reader) (all [][3]string, err error) {
	stream := newEventStream(r, func() {})
	for {
		m, err := stream.next()
		if err != nil {
			return all, err
		}
		all = append(all, [3]string{m.name, m.id, m.data})
	}
}
