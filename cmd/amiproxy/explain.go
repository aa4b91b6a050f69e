package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/amiproxy/amiproxy/config"
	"github.com/amiproxy/amiproxy/proxy"
)

func explainCommand() *cobra.Command {
	var file, user, pbx string
	cmd := &cobra.Command{
		Use:   "explain -c FILE -user NAME [-pbx NAME] < ACTIONS",
		Short: "Say what would become of actions, and which rule decides",
		Long: `Reads one or more actions from standard input, as a client would send them, and
says of each whether the user may send it, which line of the configuration
decides, and to which PBX it goes. Nothing is sent: no PBX is asked, so that the
classes are those of the newest Asterisk, and its directories the usual ones.
Exit code 0 if all are allowed, 1 if one is refused.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if user == "" {
				return errors.New("whose actions? Say -user NAME")
			}
			cfg, err := config.Load(file)
			if err != nil {
				return failure{err}
			}
			allowed, err := proxy.Explain(cfg, user, pbx, cmd.InOrStdin(), cmd.OutOrStdout())
			switch {
			case err != nil:
				return failure{err}
			case !allowed:
				return failure{errRefused}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", defaultFile, "configuration file")
	cmd.Flags().StringVar(&user, "user", "", "whose actions they are")
	cmd.Flags().StringVar(&pbx, "pbx", "", "the PBX to ask about; all of the user's if empty")
	return cmd
}

// errRefused is told by what was written already.
var errRefused = errors.New("")
