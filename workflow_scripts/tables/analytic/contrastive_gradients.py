"""How strongly two contrastive objectives push an anchor away from a negative sample (nora_fusion, Table 2)."""

from typing import Any

from workflow_scripts.tables.interface import TableSource

POSITIVES, NEGATIVES = (0.99, 0.5, 0.01, -0.5), (0.5, -0.5)


class Source(TableSource):
    """The weights of the negative sample's vector in the gradient at temperature 1; no setting changes them."""

    def cells(self, experiment: dict[str, Any]) -> dict[tuple[str, str], str]:
        import torch

        from workflow_scripts.models.contrastive import gradient_weights, nt_logistic, nt_xent

        found = {}
        for negative in NEGATIVES:
            for positive in POSITIVES:
                similarities = (
                    torch.tensor(positive, dtype=torch.float64),
                    torch.tensor([negative], dtype=torch.float64),
                )
                for column, objective in (("f_Xent", nt_xent), ("f_Log", nt_logistic)):
                    _, weight = gradient_weights(objective, *similarities, 1.0)
                    found[f"sim_pos={positive:g} sim_neg={negative:g}", column] = f"{weight.item():.3f}"
        return found
