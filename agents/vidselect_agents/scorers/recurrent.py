"""A bidirectional LSTM that scores every candidate in the light of all.

Shapes: B contexts, T candidates, D values of a candidate's state.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class BiLSTMScorer(nn.Module):
    """AS's agent before the sigmoid: a BiLSTM and a fully connected layer (section "Agent").

    Args:
        num_inputs: D.
        hidden: units of each direction; the paper does not say how many.
    """

    def __init__(self, num_inputs: int, *, hidden: int = 128) -> None:
        super().__init__()
        self.lstm = nn.LSTM(num_inputs, hidden, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(2 * hidden, 1)

    def forward(self, states: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, T, D) float32 -> (B, T) float32; with `lengths` (B,) as if each context ended there."""
        if lengths is None:
            return self.fc(self.lstm(states)[0]).squeeze(-1)
        packed = pack_padded_sequence(states, lengths.cpu(), batch_first=True, enforce_sorted=False)
        hidden, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=states.shape[1])
        return self.fc(hidden).squeeze(-1)

    def gmacs(self, num_candidates: int) -> float:
        """Multiply-adds for one context, in units of 1e9: four gates from input and state, each direction."""
        hidden, num_inputs = self.lstm.hidden_size, self.lstm.input_size
        return num_candidates * (2 * 4 * hidden * (num_inputs + hidden) + 2 * hidden) / 1e9
