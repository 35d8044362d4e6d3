package whatsapp

import "go.mau.fi/libsignal/logger"

// libsignal makes its logger at the first line it writes, without a lock: with several sessions in a process that is a data
// race. So it has one before anything runs. Its lines are dropped: what matters whatsmeow tells as errors.
var _ = silenceSignal()

type silence struct{}

func (silence) Debug(_, _ string)   {}
func (silence) Info(_, _ string)    {}
func (silence) Warning(_, _ string) {}
func (silence) Error(_, _ string)   {}
func (silence) Configure(string)    {}

func silenceSignal() struct{} {
	var l logger.Loggable = silence{}
	logger.Setup(&l)
	return struct{}{}
}
