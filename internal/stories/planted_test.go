package stories_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A planted bug is a change to one file of the product, seen by one build alone (go test -overlay), that the one
// test named for it must catch.
type plantedBug struct {
	file     string
	old, new string
	pkg      string
	test     string // with its subtest, as -run takes it
}

func plantedBugs() map[string]plantedBug {
	return map[string]plantedBug{
		"acknowledged before it is sent": {
			file: "internal/sender/deliver.go",
			old:  "	err = s.send(ctx, d, body)\n",
			new:  "	_ = d.Ack()\n	err = s.send(ctx, d, body)\n",
			pkg:  "./internal/sender", test: "^TestSender_AJobWhoseSenderDiesWhileItSendsIsSentByTheNext$",
		},
		"the relay forgets after a restart": {
			file: "internal/relay/relay.go",
			old:  "	recovering.Go(func() { r.recover(ctx) })\n",
			new:  "",
			pkg:  "./internal/relay", test: "^TestRelay_RepublishesWhatAnEarlierRunLeft$",
		},
		"a new WhatsApp id per try": {
			file: "internal/sender/deliver.go",
			old:  "	return s.cfg.Session.Send(ctx, Message{Job: d.Job(), Body: body})\n",
			new:  "	body.MessageID += newNonce()\n	return s.cfg.Session.Send(ctx, Message{Job: d.Job(), Body: body})\n",
			pkg:  "./internal/sender", test: "^TestSender_TriesAgainUnderTheSameWhatsAppID$",
		},
		"verify reads outside the transaction": {
			file: "internal/otp/service.go",
			old:  "	err := s.store.Update(ctx, id, change)\n",
			new: "	var read Record\n" +
				"	var seen History\n" +
				"	err := s.store.Update(ctx, id, Change{Rule: func(r *Record, h *History) error { read, seen = *r, *h; return nil }})\n" +
				"	if err == nil {\n" +
				"		err = change.Rule(&read, &seen)\n" +
				"	}\n" +
				"	if err == nil {\n" +
				"		err = s.store.Update(ctx, id, Change{Rule: func(r *Record, _ *History) error { *r = read; return nil }})\n" +
				"	}\n",
			pkg: "./internal/record/bolt", test: "^TestStore_Conformance$/^a_try_between_the_steps_of_another_finds_the_OTP_used$",
		},
		"a claim without its expected sequence": {
			file: "internal/queue/log.go",
			old:  "			jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(expected, 10)}, // always, also 0\n",
			new:  "			\"Wabek-Planted\":                     {strconv.FormatUint(expected, 10)},\n",
			pkg:  "./internal/queue", test: "^TestLog_OfTwoThatClaimAtOnceExactlyOneWins$",
		},
	}
}

func TestStory_PlantedBugsAreCaught(t *testing.T) {
	t.Parallel()
	for name, bug := range plantedBugs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, ok := bug.run(t, "")
			require.True(t, ok, "the test fails without the bug:\n%s", out)
			require.Contains(t, out, "--- PASS: ", "there is no such test:\n%s", out)
			out, ok = bug.run(t, bug.plant(t))
			require.NotContains(t, out, "[build failed]", "the bug doesn't compile")
			require.False(t, ok, "the bug isn't caught:\n%s", out)
			require.Contains(t, out, "--- FAIL: "+strings.TrimSuffix(strings.TrimPrefix(strings.SplitN(bug.test, "/", 2)[0], "^"), "$"),
				"something else has failed:\n%s", out)
		})
	}
}

// plant writes the changed file and returns the overlay that puts it in the place of the product's.
func (b plantedBug) plant(t *testing.T) string {
	t.Helper()
	file, err := filepath.Abs(filepath.Join(root, b.file))
	require.NoError(t, err)
	source := read(t, file)
	require.Equal(t, 1, strings.Count(source, b.old), "the place of the bug in %s has changed: change the bug with it", b.file)
	dir := t.TempDir()
	planted := filepath.Join(dir, filepath.Base(file))
	require.NoError(t, os.WriteFile(planted, []byte(strings.Replace(source, b.old, b.new, 1)), 0o600))
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {file: planted}})
	require.NoError(t, err)
	path := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(path, overlay, 0o600))
	return path
}

// run runs the bug's test, and says whether it passed.
func (b plantedBug) run(t *testing.T, overlay string) (string, bool) {
	t.Helper()
	args := []string{"test", "-count=1", "-v", "-timeout", "60s", "-run", b.test}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "go", append(args, b.pkg)...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}
